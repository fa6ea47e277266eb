/** The types of the same. */
export * from '../../dist/daemon/testkit/index.js';
