/**
 * Which of several nodes a stream belongs to. What is put together from many messages, speech and clips, belongs to one
 * node; so does a clip's sound, to the node that has its camera. Single frames may go to any.
 */
import type { InputKind } from '../bus/topics';
import type { StreamsOptions } from './options';

export interface Placement {
  /** Of the subscriptions to frames that any node may take; undefined where each camera is to have a node. */
  readonly shareGroup: string | undefined;
  /** Whether what has this key is this node's. `shared`: a frame any node may take, which the broker did not hand out. */
  owns(key: string, shared: boolean): boolean;
}

type Options = Pick<StreamsOptions, 'cameras' | 'defaults'>;

/** Whether all messages of a stream have to go to one node. */
export function belongsTogether(kind: InputKind, stream: string, { cameras, defaults }: Options): boolean {
  return kind !== 'frame' || (cameras.get(stream) ?? defaults.camera).options.clip !== undefined;
}

/** Streams with the same key have the same node. */
export function placementKey(kind: InputKind, stream: string, { cameras, defaults }: Options): string {
  if (kind !== 'frame') return stream;
  return (cameras.get(stream) ?? defaults.camera).options.clip?.sound ?? stream;
}

/** Cameras that make clips, by name. */
export function clipCameras({ cameras }: Pick<Options, 'cameras'>): string[] {
  return Array.from(cameras).flatMap(([name, { options }]) => (options.clip === undefined ? [] : [name]));
}
