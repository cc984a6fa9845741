import '../mark.mjs'

export default { mode: 'production' }
