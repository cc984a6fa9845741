// Takes the lock. All the work is the binary's; this hands its inputs over.
'use strict'

const { appendFileSync } = require('node:fs')
const { fail, hostguard, ofHost } = require('./hostguard.js')

const inputs = {}
for (const name of ['lock-name', 'timeout', 'stale-after', 'reason', 'priority', 'lock-backend', 'mode']) {
  inputs[name] = process.env['INPUT_' + name.toUpperCase()] ?? ''
}

// What post.js needs is kept before anything is taken, and in GITHUB_STATE:
// GitHub drops the inputs of posts in nested actions, and a later step may set
// other variables than the host's.
const kept = {}
for (const name of ['lock-name', 'lock-backend']) {
  kept[name] = inputs[name] || ofHost(name)
}
const state = process.env.GITHUB_STATE
if (state) {
  try {
    appendFileSync(state, `inputs=${JSON.stringify(kept)}\n`)
  } catch (err) {
    fail(`cannot write GITHUB_STATE=${JSON.stringify(state)}: ${err.code}; the runner gives each step this file`)
  }
}

hostguard('acquire-lock', inputs)
