/**
 * `@hearth/testkit`: runs a plugin in a test of its own, without a broker and without a model. What the daemon checks is
 * checked: manifest, configuration, topics, kinds of events, storage and metrics.
 */
export { type Answer, FakeEngine, type Reply } from './fake-engine';
export { clip, contentOf, frame, model, request, segment } from './items';
export { MemoryBus, type Published } from './memory-bus';
export { type LogLine, type OtherFunction, type RunningPlugin, type StartOptions, startPlugin } from './start-plugin';
