import { probit } from '../../../daemon/models/convert/probit';

// Expected values: Python 3.11, statistics.NormalDist().inv_cdf.
test.each([
  [1e-6, -4.753424308822899],
  [0.01, -2.3263478740408408],
  [0.3, -0.5244005127080407],
  [0.5, 0.0],
  [0.75, 0.6744897501960817],
  [0.9, 1.2815515655446008],
  [0.95, 1.6448536269514715],
  [0.99, 2.3263478740408408],
  [0.999, 3.090232306167813],
  [0.9999999, 5.199337582290662],
])('z of %d is %d', (p, z) => {
  expect(Math.abs(probit(p) - z)).toBeLessThan(1e-8 * Math.max(1, Math.abs(z)));
});

test('a layer that is not sparse has no threshold', () => {
  expect(probit(0)).toBe(Number.NEGATIVE_INFINITY);
});
