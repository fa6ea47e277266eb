/** `hearth plugin enable|disable`: asks the daemon that runs, or sees to it that the next one does. */
import { askDaemon } from '../bus/ask';
import { brokerOptions } from '../bus/broker-options';
import type { Config } from '../config';
import { isRecord } from '../json';
import { setPluginEnabled, switchesPath } from '../plugins/switches';

const findTimeoutMs = 3000;
/** What the plugin has in hand may end first. */
const answerTimeoutMs = 120_000;

/** Resolves to what came of it, as one line. Rejects as the daemon or `setPluginEnabled` does. */
export async function switchPlugin(config: Config, name: string, enabled: boolean): Promise<string> {
  const { mqtt, node } = config;
  const word = enabled ? 'enabled' : 'disabled';
  const asked = await askDaemon({
    broker: brokerOptions(config, mqtt.url ?? `mqtt://127.0.0.1:${mqtt.embedded.port}`),
    baseTopic: mqtt.baseTopic,
    node: node.id,
    verb: enabled ? 'plugin/enable' : 'plugin/disable',
    payload: { plugin: name },
    findTimeoutMs,
    answerTimeoutMs,
  });
  if (asked.answered) {
    const { state, reason } = isRecord(asked.data) ? asked.data : {};
    return `${name} is ${word} and ${String(state)}${typeof reason === 'string' ? `: ${reason}` : ''}`;
  }
  await setPluginEnabled(config, name, enabled);
  return `${name} is ${word} from the next start of hearthd on (${switchesPath(config)}); none was found running`;
}
