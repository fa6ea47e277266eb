/** A plugin's own options: checked against the schema of its manifest, defaults filled in. */
import Ajv, { type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import type { JsonSchema, PluginManifest } from './api';
import { describeErrors } from './describe-errors';

const noOptions: JsonSchema = { type: 'object', additionalProperties: false };

function compile(schema: JsonSchema): ValidateFunction {
  try {
    const ajv = new Ajv({ allErrors: true, useDefaults: true, allowUnionTypes: true });
    addFormats(ajv);
    return ajv.compile(schema);
  } catch (cause) {
    throw new HearthError('PLUGIN_MANIFEST_INVALID', `manifest.configSchema: ${messageOf(cause).slice(0, 300)}`, {
      cause,
    });
  }
}

/** A copy of `given` with defaults. Throws `PLUGIN_CONFIG_INVALID`, or `PLUGIN_MANIFEST_INVALID` for a broken schema. */
export function resolveConfig(
  { name, configSchema }: Pick<PluginManifest, 'name' | 'configSchema'>,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const validate = compile(configSchema ?? noOptions);
  const config = structuredClone(given) as Record<string, unknown>;
  if (validate(config)) return config;
  throw new HearthError('PLUGIN_CONFIG_INVALID', describeErrors(validate.errors, `plugins.${name}.config`));
}
