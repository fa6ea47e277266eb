/** A request to the cluster, from the bytes on its topic to a job that every node knows by the same key. */
import { createHash } from 'node:crypto';
import type { PacketInfo } from '../bus/bus';
import { parseRequest } from '../bus/request-payload';
import { type ClusterTopics, checkTopic } from '../bus/topics';
import { HearthError } from '../errors';
import type { JobRequest } from './job-table';

export interface GroupRequestOptions {
  readonly topics: ClusterTopics;
  readonly maxRequestBytes: number;
  readonly defaultPriority: number;
  readonly defaultDeadlineMs: number;
}

/** Where a refusal goes, and to whose request. */
export interface Refused {
  readonly id: string | null;
  readonly responseTopic: string;
  readonly correlationData?: Buffer;
  readonly error: HearthError;
}

/** What a node is asked about itself is asked of that node. */
const ownVerbs = new Set(['cancel', 'health']);

export function readGroupRequest(
  verb: string,
  payload: Buffer,
  info: PacketInfo,
  options: GroupRequestOptions,
): JobRequest | Refused {
  const { responseTopic: wanted, correlationData } = info.properties;
  const common = {
    responseTopic: options.topics.response(verb),
    ...(correlationData !== undefined && { correlationData }),
  };
  let id: string | null = null;
  try {
    const request = parseRequest(payload, options.maxRequestBytes);
    if (!request.own) throw new HearthError('REQUEST_BAD_JSON', 'cluster: expected an id, by which all nodes know it');
    id = request.id;
    if (ownVerbs.has(verb)) {
      throw new HearthError('REQUEST_UNKNOWN_VERB', `cluster: ${verb} is asked of one node, on its own topic`);
    }
    const responseTopic = wanted === undefined ? common.responseTopic : checkAnswerTopic(wanted, options.topics);
    const { priority, deadlineMs } = request.payload;
    return {
      ...common,
      key: keyOf(verb, id, responseTopic, correlationData),
      verb,
      id,
      payload: request.payload,
      sizeBytes: payload.length,
      responseTopic,
      priority: within(priority, 0, 100) ?? options.defaultPriority,
      deadlineMs: within(deadlineMs, 1, 3_600_000) ?? options.defaultDeadlineMs,
      receivedTs: info.receivedTs,
    };
  } catch (error) {
    if (!(error instanceof HearthError)) throw error;
    return { ...common, id, error };
  }
}

/** Requesters that chose the same id and answers that go elsewhere are told apart. */
function keyOf(verb: string, id: string, responseTopic: string, correlationData: Buffer | undefined): string {
  const hash = createHash('sha256').update(JSON.stringify([verb, id, responseTopic]));
  if (correlationData !== undefined) hash.update(correlationData);
  return hash.digest('hex').slice(0, 32);
}

function checkAnswerTopic(topic: string, topics: ClusterTopics): string {
  checkTopic(topic);
  if (topics.isForAnswers(topic)) return topic;
  throw new HearthError(
    'BUS_TOPIC_INVALID',
    `response topic: expected none of hearth's own, its inputs' or the broker's, received ${JSON.stringify(topic.slice(0, 80))}`,
  );
}

function within(value: unknown, least: number, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
}
