'use strict'

const { spawn } = require('node:child_process')
const { constants } = require('node:os')
const { join } = require('node:path')

exports.fail = (text) => {
  console.log(`::error::hostguard: ${text}`)
  process.exit(3)
}

// variable returns the part of a variable's name that stands for an input.
const variable = (name) => name.toUpperCase().replaceAll('-', '_')

// ofHost returns the host's default for an input that a workflow leaves out.
exports.ofHost = (name) => process.env['HOSTGUARD_' + variable(name)] ?? ''

// hostguard runs a command of the binary with inputs and exits with its status.
exports.hostguard = (command, inputs) => {
  const env = { ...process.env, HOSTGUARD_ACTION: 'true' }
  for (const name of Object.keys(env)) {
    if (name.startsWith('HOSTGUARD_INPUT_')) delete env[name] // of an enclosing action
  }
  for (const [name, value] of Object.entries(inputs)) {
    env['HOSTGUARD_INPUT_' + variable(name)] = value // empty: not given
  }
  // __dirname: GITHUB_ACTION_PATH is empty or another action's in node steps.
  const launcher = join(__dirname, '..', 'hostguard.sh')
  const child = spawn('sh', [launcher, command], { env, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal)) // the binary releases what it took
  }
  child.on('error', (err) => exports.fail(`cannot start sh: ${err.code}`))
  child.on('exit', (status, signal) => process.exit(status ?? 128 + constants.signals[signal]))
}
