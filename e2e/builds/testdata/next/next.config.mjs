import '../mark.mjs'

export default { turbopack: { root: process.env.BUILD_ROOT } }
