/** Who may depend on whom: the rules hold for every tracked source, and the checker sees each way to break them. */
import { nativeViolations } from './native-layers';
import { readTracked, type SourceFile } from './repository';
import { typescriptViolations } from './typescript-layers';

test('the TypeScript sources keep to their layers', () => {
  const files = readTracked(/^(daemon|plugins|test)\/.*\.(ts|mjs)$/);
  expect(files.length).toBeGreaterThan(100);
  expect(typescriptViolations(files)).toEqual([]);
});

test('the C++ sources keep to their layers', () => {
  const files = readTracked(/^addon\/.*\.(cc|h|inc)$/);
  expect(files.length).toBeGreaterThan(80);
  expect(nativeViolations(files)).toEqual([]);
});

describe('the checker finds', () => {
  const main: SourceFile = { path: 'daemon/main.ts', text: 'new JobQueue({}); new HearthError(); new Map();' };

  test.each([
    ['mqtt outside the bus', 'daemon/streams/streams.ts', "import { connect } from 'mqtt';", 'imports mqtt'],
    ['mqtt for its types', 'daemon/info.ts', "import type { MqttClient } from 'mqtt';", 'imports mqtt'],
    ['mqtt at run time', 'daemon/info.ts', "const { connect } = await import('mqtt');", 'imports mqtt'],
    ['a part of mqtt', 'daemon/info.ts', "import { Store } from 'mqtt/build/lib/store';", 'imports mqtt/build'],
    [
      'the runtime in the daemon',
      'daemon/main.ts',
      "import { NativeEngine } from './inference/native';",
      'loads daemon/inference/native',
    ],
    [
      'one value among types',
      'daemon/main.ts',
      "import { type A, NativeEngine } from './inference/native.js';",
      'loads daemon/inference/native',
    ],
    [
      'the runtime passed on',
      'daemon/inference/index.ts',
      "export * from './native';",
      'loads daemon/inference/native',
    ],
    ['the addon itself', 'daemon/health/health.ts', "require('../../build/Release/hearth.node');", 'names hearth.node'],
    [
      'an addon in the other one’s place',
      'daemon/health/sd-notify.ts',
      "join(root, 'build/Release/hearth.node')",
      'names hearth.node',
    ],
    ['the environment', 'daemon/log.ts', "const level = process.env['LEVEL'];", 'reads the environment'],
    ['the environment by another way', 'daemon/log.ts', "const level = process['env'];", 'reads the environment'],
    ['the environment taken apart', 'daemon/log.ts', 'const { env } = process;', 'reads the environment'],
    ['the environment imported', 'daemon/log.ts', "import { env } from 'node:process';", 'reads the environment'],
    [
      'a plugin that reaches into the daemon',
      'plugins/captions/index.ts',
      "import { log } from '../../daemon/log';",
      'imports daemon/log',
    ],
    [
      'a plugin that uses another',
      'plugins/captions/index.ts',
      "import x from '../translate';",
      'imports plugins/translate',
    ],
    [
      'a daemon that knows a plugin',
      'daemon/plugins/host.ts',
      "import x from '../../plugins/translate';",
      'imports plugins/translate',
    ],
    [
      'a service made elsewhere',
      'daemon/requests/generate.ts',
      'const queue = new JobQueue({});',
      'constructs JobQueue',
    ],
    [
      'a product that uses its tests',
      'daemon/media/wav.ts',
      "import { x } from '../../test/helpers/x';",
      'imports test/helpers/x',
    ],
  ])('%s', (_what, path, text, expected) => {
    const found = typescriptViolations(path === main.path ? [{ path, text }] : [main, { path, text }]);
    expect(found).toEqual([expect.stringContaining(`${path} ${expected}`)]);
  });

  test('the runtime by way of another file', () => {
    const found = typescriptViolations([
      { path: 'daemon/main.ts', text: "import { generate } from './inference/generate';" },
      { path: 'daemon/inference/generate.ts', text: "import { NativeEngine } from './native';" },
      { path: 'daemon/info.ts', text: "import type { Generated } from './inference/generate';" },
    ]);
    expect(found).toEqual([expect.stringContaining('daemon/main.ts loads daemon/inference/native')]);
  });

  test.each([
    ['a kernel with the library', 'addon/kernels/scalar.cc', '#include <algorithm>'],
    ['a kernel with our own headers', 'addon/kernels/x86_avx2.cc', '#include "addon/base/mat.h"'],
    ['a kernel header with the library', 'addon/kernels/kernels.h', '  #  include <string.h>'],
    ['a base that looks up', 'addon/base/status.cc', '#include "addon/gguf/gguf.h"'],
    ['a GGUF reader that knows the model', 'addon/gguf/gguf.cc', '#include "addon/model/config.h"'],
    ['an operation that knows the model', 'addon/ops/matmul.cc', '#include "addon/model/weights.h"'],
    ['input that knows the file', 'addon/input/mel.cc', '#include "addon/gguf/gguf.h"'],
    ['text that computes', 'addon/text/sampler.cc', '#include "addon/ops/exec.h"'],
    ['a model that knows text', 'addon/model/config.cc', '#include "addon/text/tokenizer.h"'],
    ['a binding past the runtime', 'addon/napi/module.cc', '#include "addon/engine_impl.h"'],
    ['a tool past the runtime', 'addon/tools/bench.cc', '#include "addon/base/status.h"'],
    ['a path that starts elsewhere', 'addon/model/slice.cc', '#include "slice.h"'],
    ['a folder without a rule', 'addon/extra/a.cc', '#include "addon/base/status.h"'],
  ])('%s', (_what, path, text) => {
    expect(nativeViolations([{ path, text }])).toEqual([expect.stringContaining(path)]);
  });
});

test('the checker takes what is allowed', () => {
  expect(
    typescriptViolations([
      { path: 'daemon/bus/connection.ts', text: "import { connect } from 'mqtt';" },
      { path: 'daemon/demo/camera.ts', text: "import { connect } from 'mqtt';" },
      { path: 'daemon/inference/runner.ts', text: "import { NativeEngine } from './native';" },
      { path: 'daemon/inference/prompt.ts', text: "import { type NativeModelInfo } from './native';" },
      { path: 'daemon/inference/native.ts', text: "require('../build/Release/hearth.node');" },
      { path: 'daemon/config/load.ts', text: 'const { env } = process;' },
      { path: 'daemon/log.ts', text: "// process.env and 'mqtt'\nconst text = `import x from 'mqtt'`;" },
      {
        path: 'plugins/captions/index.ts',
        text: "import { x } from '../../daemon/plugins/api';\nimport Ajv from 'ajv';\nimport './own';",
      },
      { path: 'test/unit/a.test.ts', text: "import { connect } from 'mqtt';\nprocess.env['A'] = new JobQueue();" },
    ]),
  ).toEqual([]);
});
