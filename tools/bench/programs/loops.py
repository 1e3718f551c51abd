"""Python loops of the benchmark guest: floats, lists, dictionaries, strings, JSON. Prints one line that is the same everywhere."""
import hashlib
import json


def nbody(steps):
    """Five bodies under gravity: float arithmetic and attribute-free lists."""
    bodies = [[float(i), i * 0.5, -i * 0.25, 0.01 * i, 0.02, -0.01 * i, 1.0 + i] for i in range(5)]
    for _ in range(steps):
        for i, a in enumerate(bodies):
            for b in bodies[i + 1:]:
                dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
                force = 0.001 / (dx * dx + dy * dy + dz * dz + 0.1) ** 1.5
                for axis, d in enumerate((dx, dy, dz), 3):
                    a[axis] -= d * b[6] * force
                    b[axis] += d * a[6] * force
        for body in bodies:
            for axis in range(3):
                body[axis] += 0.001 * body[axis + 3]
    return sum(body[0] for body in bodies)


def flips(n):
    """Most prefix reversals over all permutations of n: list slices and small integers."""
    most = 0
    order = list(range(n))
    count = [0] * n
    i = 0
    while i < n:
        if count[i] < i:
            j = count[i] if i % 2 else 0
            order[j], order[i] = order[i], order[j]
            perm, turns = order[:], 0
            while perm[0]:
                top = perm[0] + 1
                perm[:top] = perm[:top][::-1]
                turns += 1
            most = max(most, turns)
            count[i] += 1
            i = 0
        else:
            count[i] = 0
            i += 1
    return most


def words(count):
    """Strings made, split, counted in a dictionary and sorted."""
    state, text = 42, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        text.append('w%d' % (state % 997))
    seen = {}
    for word in ' '.join(text).split():
        seen[word] = seen.get(word, 0) + 1
    return sorted(seen.items(), key=lambda pair: (-pair[1], pair[0]))[:3]


def documents(count):
    """Nested values through JSON and back."""
    value = {'rows': [{'id': i, 'name': 'row %d' % i, 'parts': [i, i / 4, None, True]} for i in range(500)]}
    for _ in range(count):
        value = json.loads(json.dumps(value, indent=1))
    return hashlib.md5(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


print('%.9f %d %s %s' % (nbody(1500), flips(7), words(30000)[0], documents(12)))
