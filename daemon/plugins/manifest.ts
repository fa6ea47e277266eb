/** What a plugin says about itself, checked on the host's side: it came from another thread and is anyone's code. */
import Ajv from 'ajv';
import { satisfies, validRange } from 'semver';
import { checkFilter } from '../bus/topics';
import { HearthError } from '../errors';
import { eventKinds } from '../events';
import { apiVersion, type PluginManifest } from './api';
import { describeErrors } from './describe-errors';

const emittable = eventKinds.filter((kind) => kind !== 'skipped' && kind !== 'error');
const topicList = { type: 'array', maxItems: 256, items: { type: 'string', minLength: 1, maxLength: 1024 } };

const isManifest = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<PluginManifest>({
  type: 'object',
  required: ['name', 'version', 'apiVersion', 'description'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', pattern: '^[a-z][a-z0-9-]{0,63}$' },
    version: { type: 'string', minLength: 1, maxLength: 64 },
    apiVersion: { type: 'string', minLength: 1, maxLength: 64 },
    description: { type: 'string', maxLength: 1024 },
    consumes: { type: 'array', maxItems: 3, items: { enum: ['frame', 'segment', 'clip'] } },
    verbs: {
      type: 'array',
      maxItems: 32,
      items: { type: 'string', pattern: '^[a-z0-9_-]{1,64}(/[a-z0-9_-]{1,64})?$' },
    },
    emits: { type: 'array', maxItems: emittable.length, items: { enum: emittable } },
    topics: {
      type: 'object',
      additionalProperties: false,
      properties: { publish: topicList, subscribe: topicList },
    },
    configSchema: { type: ['object', 'boolean'] },
    isolation: { enum: ['worker', 'process'] },
  },
});

/** Throws `PLUGIN_MANIFEST_INVALID` or `PLUGIN_INCOMPATIBLE`. */
export function checkManifest(value: unknown, expectedName: string): PluginManifest {
  if (!isManifest(value)) {
    throw new HearthError('PLUGIN_MANIFEST_INVALID', `manifest: ${describeErrors(isManifest.errors, 'manifest')}`);
  }
  if (value.name !== expectedName) {
    throw new HearthError(
      'PLUGIN_MANIFEST_INVALID',
      `manifest.name: expected ${JSON.stringify(expectedName)} as it is configured, received ${JSON.stringify(value.name)}`,
    );
  }
  if (validRange(value.apiVersion) === null || !satisfies(apiVersion, value.apiVersion)) {
    throw new HearthError(
      'PLUGIN_INCOMPATIBLE',
      `manifest.apiVersion: ${value.name} ${value.version} is made for version ${JSON.stringify(value.apiVersion)} of the plugin API, and this is ${apiVersion}: expected a semver range with it`,
    );
  }
  for (const template of [...(value.topics?.publish ?? []), ...(value.topics?.subscribe ?? [])])
    checkTemplate(template);
  return value;
}

/** With every placeholder filled in, it has to be a topic filter. */
function checkTemplate(template: string): void {
  try {
    checkFilter(template.replace(/\{[^{}]*\}/g, 'x'));
  } catch (cause) {
    throw new HearthError(
      'PLUGIN_MANIFEST_INVALID',
      `manifest.topics: expected topic filters, received ${JSON.stringify(template.slice(0, 120))}`,
      { cause },
    );
  }
}
