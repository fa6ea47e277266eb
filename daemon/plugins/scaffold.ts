/** A new plugin that runs as it is: what it does is little, but it does every part of it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HearthError } from '../errors';
import { messageOf } from '../log';
import { apiVersion } from './api';

const nameForm = /^[a-z][a-z0-9-]{0,63}$/;

function moduleText(name: string): string {
  return `import { definePlugin, PluginError } from '../../daemon/plugins/api';

interface Config {
  readonly prompt: string;
  readonly maxTokens: number;
}

export default definePlugin<Config>({
  manifest: {
    name: '${name}',
    version: '0.1.0',
    apiVersion: '^${apiVersion}',
    description: 'Answers a question about every frame.',
    consumes: ['frame'],
    verbs: ['${name}'],
    emits: ['answer'],
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        prompt: {
          type: 'string',
          minLength: 1,
          default: 'Is anybody in this picture?',
          description: 'The question.',
        },
        maxTokens: {
          type: 'integer',
          minimum: 1,
          maximum: 1024,
          default: 32,
          description: 'Tokens of an answer at most.',
        },
      },
    },
  },

  start(ctx) {
    const { prompt, maxTokens } = ctx.config;

    ctx.onFrame(async (frame) => {
      const result = await ctx.generate({
        messages: [{ role: 'user', parts: [{ type: 'media', media: frame.media }, { type: 'text', text: prompt }] }],
        maxTokens,
        item: frame,
      });
      await ctx.emit({ kind: 'answer', item: frame, result, text: result.text.trim() });
    });

    ctx.onRequest('${name}', async (request) => {
      const { question } = request.payload;
      if (typeof question !== 'string' || question === '') {
        throw new PluginError('REQUEST_INVALID', '${name}.question: expected text');
      }
      const result = await ctx.generate({
        messages: [{ role: 'user', parts: [{ type: 'text', text: question }] }],
        maxTokens,
        item: request,
      });
      return { text: result.text.trim() };
    });
  },
});
`;
}

function testText(name: string): string {
  return `import { contentOf, request, startPlugin } from '@hearth/testkit';
import plugin from './index';

test('a frame becomes an answer to the question', async () => {
  const running = await startPlugin(plugin, { config: { prompt: 'Is it open?' }, replies: [' Yes. '] });
  await running.frame({ stream: 'gate' });
  expect(contentOf(running.jobs[0]).texts).toEqual(['Is it open?']);
  expect(running.events).toMatchObject([{ kind: 'answer', stream: 'gate', text: 'Yes.' }]);
});

test('a request is answered with what the model says', async () => {
  const running = await startPlugin(plugin, { replies: [' Blue. '] });
  expect(await running.request(request('${name}', { question: 'Which colour?' }))).toEqual({ text: 'Blue.' });
  await expect(running.request(request('${name}', {}))).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
});
`;
}

function readmeText(name: string): string {
  return `# ${name}

Answers a question about every frame.

| topic | direction | payload |
|---|---|---|
| \`hearth/<node>/out/<stream>/answer\` | out | an event with \`text\` |
| \`hearth/<node>/request/${name}\` | in | \`{"question": "..."}\` |
| \`hearth/<node>/response/${name}\` | out | \`{"ok": true, "data": {"text": "..."}}\` |

| option | default | expected | |
|---|---|---|---|
| \`prompt\` | \`"Is anybody in this picture?"\` | text of at least 1 characters | The question. |
| \`maxTokens\` | \`32\` | an integer of 1 to 1024 | Tokens of an answer at most. |

Compile it with \`npm run build:ts\`; \`npm test\` runs its test. It starts once the configuration names it:

\`\`\`yaml
plugins:
  ${name}:
    config:
      prompt: Is the gate open?
\`\`\`
`;
}

/** Runs `write`; what fails names the path. */
function attempt(path: string, write: () => void): void {
  try {
    write();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new HearthError('PLUGIN_EXISTS', `${path}: expected nothing there, found something`, { cause });
    }
    throw new HearthError('FILE_WRITE_FAILED', `${path}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Writes `<dir>/<name>/index.ts`, `README.md` and `<name>.test.ts`; `dir` is the `plugins` directory of a checkout. Returns the paths.
 * Throws `PLUGIN_NAME_INVALID`, `PLUGIN_EXISTS` or `FILE_WRITE_FAILED`; nothing is overwritten.
 */
export function createPlugin(name: string, dir: string): string[] {
  if (!nameForm.test(name)) {
    throw new HearthError(
      'PLUGIN_NAME_INVALID',
      `plugin name: expected 1 to 64 of a-z 0-9 -, a letter first, received ${JSON.stringify(name.slice(0, 80))}`,
    );
  }
  const place = join(dir, name);
  attempt(dir, () => mkdirSync(dir, { recursive: true }));
  attempt(place, () => mkdirSync(place));
  const files = {
    'index.ts': moduleText(name),
    'README.md': readmeText(name),
    [`${name}.test.ts`]: testText(name),
  };
  return Object.entries(files).map(([file, text]) => {
    const path = join(place, file);
    attempt(path, () => writeFileSync(path, text, { flag: 'wx' }));
    return path;
  });
}
