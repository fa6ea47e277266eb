/** `hearth model convert` as a process: what it prints, how it ends, and how it stops. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomCheckpoint } from '../../helpers/checkpoint';
import { readGguf } from '../../helpers/gguf-reader';
import { toCheckpoint, writeBf16Safetensors } from '../../helpers/hugging-face';

const cli = join(__dirname, '../../../daemon/cli.js');

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command; sends the signal with the first line of progress. */
async function convert(args: readonly string[], signal?: NodeJS.Signals): Promise<Ended> {
  const child = spawn(process.execPath, [cli, 'model', 'convert', ...args]);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  if (signal !== undefined) child.stderr.once('data', () => child.kill(signal));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

describe('hearth model convert', () => {
  let root: string;
  let checkpoint: string;

  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'hearth-command-'));
    checkpoint = join(root, 'checkpoint');
    randomCheckpoint(checkpoint);
  });

  afterAll(() => rmSync(root, { recursive: true }));

  test('prints the file, shows progress, and takes a type for each table', async () => {
    const out = join(root, 'model.gguf');
    const { code, stdout, stderr } = await convert([
      checkpoint,
      out,
      '--type',
      'q4_0',
      '--head-type',
      'q8_0',
      '--ple-type',
      'f16',
    ]);
    expect([code, stdout]).toEqual([0, `${out}\n`]);
    expect(stderr).toMatch(/^\d+ % token_embd\.weight\n/);
    expect(stderr).toMatch(/\n100 % \S+\n$/);
    const { tensors } = readGguf(out);
    const types = ['token_embd', 'per_layer_token_embd', 'blk.0.attn_q'].map(
      (name) => tensors.get(`${name}.weight`)?.typeId,
    );
    expect(types).toEqual([8, 1, 2]);
  });

  test.each([
    ['a directory without a checkpoint', 'CHECKPOINT_INCOMPLETE', 66, '.'],
    ['a checkpoint of another model', 'CHECKPOINT_UNSUPPORTED', 65, 'other'],
  ])('ends with a line for %s', async (_what, name, exitCode, directory) => {
    const checkpointDir = join(root, directory);
    if (directory === 'other') {
      randomCheckpoint(checkpointDir);
      writeFileSync(join(checkpointDir, 'config.json'), '{"model_type": "llama"}');
    }
    const { code, stdout, stderr } = await convert([checkpointDir, join(root, 'none.gguf')]);
    expect([code, stdout]).toEqual([exitCode, '']);
    expect(stderr).toMatch(new RegExp(`^${name}: .+\n$`));
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('stops at %s without a trace', async (signal) => {
    // A per-layer table of 500 million zeroes, which take the file no room, keeps it busy for long enough.
    const large = mkdtempSync(join(root, 'large-'));
    const config = JSON.parse(readFileSync('test/fixtures/checkpoints/kquant/config.json', 'utf8')) as Record<
      string,
      unknown
    >;
    const { tensors } = JSON.parse(readFileSync('test/fixtures/checkpoints/kquant/llama-cpp.json', 'utf8')) as {
      tensors: Record<string, number[]>;
    };
    const rows = 1 << 16;
    writeFileSync(
      join(large, 'config.json'),
      JSON.stringify({ ...config, vocab_size: rows, vocab_size_per_layer_input: rows }),
    );
    copyFileSync('test/fixtures/checkpoints/nano/tokenizer.model', join(large, 'tokenizer.model'));
    const shapes = Object.entries(tensors).sort(
      ([a], [b]) => Number(b.startsWith('per_layer_token')) - Number(a.startsWith('per_layer_token')),
    );
    writeBf16Safetensors(
      join(large, 'model.safetensors'),
      shapes.flatMap(([name, dims]) => toCheckpoint(name, dims, 'model.', /token_embd/.test(name) ? rows : undefined)),
    );
    const out = mkdtempSync(join(root, 'out-'));
    const { code, stdout, stderr } = await convert([large, join(out, 'model.gguf')], signal);
    expect([code, stdout]).toEqual([130, '']);
    expect(stderr).toMatch(/CANCELLED: the conversion was cancelled\n$/);
    expect(readdirSync(out)).toEqual([]);
  });
});
