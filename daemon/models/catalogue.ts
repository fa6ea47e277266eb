/** The models that may be downloaded: those the owner lists in the configuration, each with the hash of its files. */
import { createHash } from 'node:crypto';
import type { Config } from '../config';
import { HearthError } from '../errors';

export interface SourceFile {
  readonly url: string;
  /** Lower-case hex of the whole file. */
  readonly sha256: string;
  /** Null where the server is to say. */
  readonly bytes: number | null;
}

export interface ModelSource extends SourceFile {
  readonly name: string;
  readonly title: string;
  readonly version: string;
  /** The vision and audio encoders. */
  readonly mmproj: SourceFile | null;
  /** Holds what is sent as `Authorization: Bearer` to the host of the URLs. */
  readonly tokenFile: string | null;
  /** The same for the same bytes, whatever they are called. */
  readonly key: string;
}

export type Catalogue = ReadonlyMap<string, ModelSource>;

export function catalogueOf({ model }: Pick<Config, 'model'>): Catalogue {
  return new Map(
    Object.entries(model.sources).map(([name, { url, sha256, bytes, version, title, mmproj, tokenFile }]) => {
      const encoders =
        mmproj.url === null || mmproj.sha256 === null ? null : { url: mmproj.url, sha256: mmproj.sha256 };
      const key = createHash('sha256')
        .update(`${sha256}\0${encoders?.sha256 ?? ''}`.toLowerCase())
        .digest('hex')
        .slice(0, 12);
      const source: ModelSource = {
        name,
        title: title ?? name,
        version: version ?? key,
        url,
        sha256: sha256.toLowerCase(),
        bytes,
        mmproj: encoders && { ...encoders, sha256: encoders.sha256.toLowerCase(), bytes: mmproj.bytes },
        tokenFile,
        key,
      };
      return [name, source];
    }),
  );
}

/** Throws `MODEL_UNKNOWN`. Ollama's clients write `name:latest`. */
export function sourceNamed(catalogue: Catalogue, name: string): ModelSource {
  const source = catalogue.get(name.replace(/:latest$/, ''));
  if (source !== undefined) return source;
  const known = [...catalogue.keys()];
  throw new HearthError(
    'MODEL_UNKNOWN',
    `model: expected an entry of model.sources (${known.slice(0, 16).join(', ') || 'there is none'}), received ${JSON.stringify(name.slice(0, 80))}`,
  );
}
