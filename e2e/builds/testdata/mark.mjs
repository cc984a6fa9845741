// Leaves a file when the build's own process is at work, and one when it ends:
// what the test compares with what the gate sees. It ends once the test has looked, for at most
// ten seconds: vite was once done between two looks. Workers have a channel to their parent, the
// build itself has none.
import { existsSync, writeFileSync } from 'node:fs'

const marks = process.env.BUILD_MARKS
if (marks && !process.send) {
  writeFileSync(`${marks}/begun`, '')
  process.on('exit', () => {
    const shared = new Int32Array(new SharedArrayBuffer(4))
    for (let i = 0; i < 1000 && !existsSync(`${marks}/looked`); i++) Atomics.wait(shared, 0, 0, 10)
    writeFileSync(`${marks}/ended`, '')
  })
}
