/** What `@hearth/testkit` is for Node: the compiled kit, wherever this checkout lies. */
module.exports = require('../../dist/daemon/testkit/index.js');
