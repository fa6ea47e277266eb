/** What a plugin has published, with what it says about its calls apart from the rest. */
import type { Published } from '@hearth/testkit';

interface Publisher {
  readonly published: readonly Published[];
}

const isAudit = ({ topic }: Published): boolean => topic === 'hearth/pi5/audit';

export const auditOf = ({ published }: Publisher): Record<string, unknown>[] =>
  published.filter(isAudit).map(({ payload }) => JSON.parse(payload) as Record<string, unknown>);

export const sentBy = ({ published }: Publisher): Published[] => published.filter((message) => !isAudit(message));
