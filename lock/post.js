// Gives the lock back. What to give back the binary knows from STATE_record,
// which it has saved itself.
'use strict'

const { hostguard } = require('./hostguard.js')

hostguard('release-lock', JSON.parse(process.env.STATE_inputs || '{}'))
