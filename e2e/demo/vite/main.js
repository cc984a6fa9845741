// Its text comes from vite.config.mjs.
