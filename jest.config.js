/** Tests run on what tsc made of them; source maps lead failures back to the TypeScript. */
module.exports = {
  roots: ['<rootDir>/dist'],
  testMatch: ['**/*.test.js'],
  testEnvironment: 'node',
  maxWorkers: 2,
  testTimeout: 60_000,
};
