// Leaves a file when the build's own process is at work, and one when it ends:
// what the test compares with what the gate sees. Workers have a channel to
// their parent, the build itself has none.
import { writeFileSync } from 'node:fs'

const marks = process.env.BUILD_MARKS
if (marks && !process.send) {
  writeFileSync(`${marks}/begun`, '')
  process.on('exit', () => writeFileSync(`${marks}/ended`, ''))
}
