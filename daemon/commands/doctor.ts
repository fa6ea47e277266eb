/** `hearth doctor`: looks at everything the daemon needs, and says for each thing whether it is there. */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { arch, totalmem } from 'node:os';
import { brokerOptions } from '../bus/broker-options';
import { probeBroker } from '../bus/probe';
import type { Config } from '../config';
import { realBoard } from '../governor/files';
import { readMemory } from '../governor/memory';
import type { EngineState } from '../inference/types';
import { createLog, messageOf } from '../log';
import { locateModel, type ModelFiles } from '../models/locate';

export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail';
  readonly what: string;
  readonly detail: string;
}

/** Loads a model to see whether it can be; ends it again. */
export type TryModel = (config: Config) => Promise<EngineState>;
/** The files a start would load. Throws where there are none. */
export type LocateModel = (config: Config) => ModelFiles;

const minNode = [20, 17] as const;
const brokerTimeoutMs = 8000;

/** Findings in the order they are made. Nothing is changed but that the state directory is created. */
export async function* examine(
  config: Config,
  tryModel: TryModel,
  locate: LocateModel = locateModel,
): AsyncGenerator<Finding> {
  yield nodeVersion();
  yield architecture();
  yield configFile(config);
  yield stateDirectory(config);
  yield* await model(config, tryModel, locate);
  yield await broker(config);
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fine = major > minNode[0] || (major === minNode[0] && minor >= minNode[1]);
  return {
    level: fine ? 'ok' : 'fail',
    what: 'node',
    detail: `${process.versions.node}, expected at least ${minNode.join('.')}`,
  };
}

function architecture(): Finding {
  const known = ['arm64', 'x64'].includes(arch());
  return {
    level: known ? 'ok' : 'warn',
    what: 'architecture',
    detail: known ? arch() : `${arch()}, which has scalar kernels only`,
  };
}

function configFile(config: Config): Finding {
  if (config.file === null)
    return { level: 'ok', what: 'configuration', detail: 'no file; environment, flags and defaults' };
  const mode = statSync(config.file).mode & 0o777;
  const { mqtt, http } = config;
  const secrets = [
    ...(mqtt.password !== null && mqtt.passwordFile === null ? ['a password'] : []),
    ...(http.token !== null && http.tokenFile === null ? ['a token'] : []),
  ];
  const exposed = secrets.length > 0 && (mode & 0o004) !== 0;
  if (exposed) {
    return {
      level: 'warn',
      what: 'configuration',
      detail: `${config.file} holds ${secrets.join(' and ')} and everyone may read it (mode ${mode.toString(8)})`,
    };
  }
  return { level: 'ok', what: 'configuration', detail: config.file };
}

function stateDirectory({ stateDirectory: path }: Config): Finding {
  try {
    mkdirSync(path, { recursive: true });
    accessSync(path, constants.R_OK | constants.W_OK);
    return { level: 'ok', what: 'state directory', detail: path };
  } catch (error) {
    return { level: 'fail', what: 'state directory', detail: `${path}: ${messageOf(error)}` };
  }
}

async function model(config: Config, tryModel: TryModel, locate: LocateModel): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    const { modelPath, multimodalPath } = locate(config);
    findings.push({ level: 'ok', what: 'model file', detail: `${modelPath} (${megabytes(statSync(modelPath).size)})` });
    findings.push(
      multimodalPath === undefined
        ? { level: 'warn', what: 'encoders', detail: 'no mmproj-*.gguf beside the model: text only' }
        : { level: 'ok', what: 'encoders', detail: `${multimodalPath} (${megabytes(statSync(multimodalPath).size)})` },
    );
    findings.push(await memory([modelPath, ...(multimodalPath === undefined ? [] : [multimodalPath])]));
  } catch (error) {
    return [...findings, { level: 'fail', what: 'model file', detail: messageOf(error) }];
  }
  const state = await tryModel(config);
  if (state.phase === 'ready') {
    const { name, isa, threads, modalities, loadedSlice, memory: takes } = state.info;
    findings.push({
      level: 'ok',
      what: 'model',
      detail: `${name}: ${modalities.join(', ')}; ${isa} kernels, ${threads} threads; slice ${loadedSlice} and what is smaller`,
    });
    findings.push({
      level: 'ok',
      what: 'model memory',
      detail: `${megabytes(takes.totalBytes)} at most: weights ${megabytes(takes.weightBytes)}, keys and values ${takes.sessions} times ${megabytes(takes.kvBytes)} as ${takes.kvType}`,
    });
  } else {
    findings.push({
      level: 'fail',
      what: 'model',
      detail:
        [state.phase, 'code' in state && state.code, 'reason' in state && state.reason].filter(Boolean).join(': ') +
        ('code' in state && state.code === 'MODEL_TOO_LARGE'
          ? '; raise model.memoryLimit, set a smaller model.loadSlice or take a smaller file'
          : ''),
    });
  }
  return findings;
}

async function memory(files: readonly string[]): Promise<Finding> {
  const needed = files.reduce((sum, path) => sum + statSync(path).size, 0);
  const { availableBytes } = await readMemory(realBoard);
  const available = availableBytes || totalmem();
  const detail = `${megabytes(available)} available, the model's files are ${megabytes(needed)}`;
  return { level: available > needed ? 'ok' : 'warn', what: 'memory', detail };
}

async function broker(config: Config): Promise<Finding> {
  const { url, embedded } = config.mqtt;
  if (url === null) {
    const free = embedded.port === 0 || (await isFree(embedded.port));
    const detail = `embedded, on 127.0.0.1:${embedded.port}`;
    return free
      ? { level: 'ok', what: 'broker', detail }
      : { level: 'warn', what: 'broker', detail: `${detail}, which is taken (is hearthd running?)` };
  }
  try {
    const { protocol } = await probeBroker(
      brokerOptions(config, url),
      `hearth-doctor-${process.pid}`,
      brokerTimeoutMs,
      createLog({ level: 'silent' }),
    );
    return { level: 'ok', what: 'broker', detail: `${url}, MQTT ${protocol === 5 ? '5' : '3.1.1'}` };
  } catch (error) {
    return { level: 'fail', what: 'broker', detail: messageOf(error) };
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
