// Takes the lock. The binary does the work; this passes its inputs on.
'use strict'

const { appendFileSync } = require('node:fs')
const { fail, hostguard, ofHost } = require('./hostguard.js')

const keep = (variable, text) => {
  const file = process.env[variable]
  if (!file) return
  try {
    appendFileSync(file, text)
  } catch (err) {
    fail(`cannot write ${variable}=${JSON.stringify(file)}: ${err.code}; the runner gives each step this file`)
  }
}

const inputs = {}
for (const name of ['lock-name', 'timeout', 'stale-after', 'reason', 'priority', 'slots', 'share', 'lock-backend', 'mode']) {
  inputs[name] = process.env['INPUT_' + name.toUpperCase()] ?? ''
}

// What post.js needs is saved before anything is taken, and in GITHUB_STATE:
// GitHub drops the inputs of posts in nested actions, and a later step may set
// other variables than the host's.
const kept = {}
for (const name of ['lock-name', 'lock-backend']) {
  kept[name] = inputs[name] || ofHost(name)
}
keep('GITHUB_STATE', `inputs=${JSON.stringify(kept)}\n`)

// The engines of Gitea's runners evaluate the default of an input once, before the
// main step, but a variable of the job anew for every later step: so the post
// step sees the job's status. GitHub's runner does it the other way round.
if (process.env.ACT || process.env.GITEA_ACTIONS) {
  keep('GITHUB_ENV', "HOSTGUARD_JOB_STATUS=${{ github.action_path && 'unknown' || job.status }}\n")
}

hostguard('acquire-lock', inputs)
