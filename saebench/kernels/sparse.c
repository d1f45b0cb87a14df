// The CPU kernels that torch has no fast operator for. Compiled at first use, see native.py; called through ctypes.
//
// select: which entries of A·Bᵀ + bias a selection takes, without ever storing the product.
//   A tile of the product (bfloat16 or float32) lives in registers and one small scratch; each of its entries gets an
//   upper bound U on its float32 value from the norms of the two rows and of what rounding took from them. Entries
//   with U above the row's cut enter a pool. A pool that is full raises its cut to the keep-th largest lower bound, or
//   computes its entries in float32. What is left at the end is computed in float32, and that alone decides: the result
//   does not depend on the precision of the product.
// gather_sum, sampled_dot: sums of rows and dot products at given places. sort_by_column: entries in the other order. project_rows, unit_rows: whole rows in one pass.
//
// Every sum is made by one thread in a fixed order, so the number of threads does not change a bit of the result.

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16, MR = 14 };
#elif defined(__AVX__)
enum { LANES = 8, MR = 6 };
#else
enum { LANES = 4, MR = 6 };
#endif
enum { NR = 2 * LANES, SUPER = 146 * MR, PANEL_BYTES = 1 << 19 };

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int64_t i64;

static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec v) { *(vec *)p = v; }
static inline i64 min64(i64 a, i64 b) { return a < b ? a : b; }

static inline float sum(vec v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

// ---------------------------------------------------------------------------------------------------- dot products

static inline float dot(const float *a, const float *b, i64 n) {
    vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    i64 i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + LANES) * load(b + i + LANES);
        s2 += load(a + i + 2 * LANES) * load(b + i + 2 * LANES);
        s3 += load(a + i + 3 * LANES) * load(b + i + 3 * LANES);
    }
    for (; i + LANES <= n; i += LANES) s0 += load(a + i) * load(b + i);
    float total = sum((s0 + s1) + (s2 + s3));
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

static inline void prefetch_row(const float *row, i64 n) {
    for (i64 i = 0; i < n; i += 16) __builtin_prefetch(row + i, 0, 2);
}

// out[e] = ⟨left[row of e], right[columns[e]]⟩ for the entries offsets[row]:offsets[row+1]
void sampled_dot(const float *left, const float *right, const i64 *offsets, const int32_t *columns, i64 rows, i64 width,
                 float *out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 32)
    for (i64 r = 0; r < rows; r++)
        for (i64 e = offsets[r]; e < offsets[r + 1]; e++) {
            if (e + 2 < offsets[rows]) prefetch_row(right + columns[e + 2] * width, width);
            out[e] = dot(left + r * width, right + columns[e] * width, width);
        }
}

// ---------------------------------------------------------------------------------------------------- sums of rows

enum { STRIP = 16 };

static inline void advise_huge(void *memory, i64 bytes) {
#if defined(MADV_HUGEPAGE)
    uintptr_t from = ((uintptr_t)memory + 4095) & ~(uintptr_t)4095, to = ((uintptr_t)memory + bytes) & ~(uintptr_t)4095;
    if (bytes >= 1 << 22 && to > from) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

// out[bag] = start + Σ over the bag's entries e of weights[order[e]] · (table[rows[e]] − minus); start, order, minus may
// be null
void gather_sum(const float *table, const i64 *offsets, const int32_t *rows, const float *weights, const i64 *order,
                const float *minus, const float *start, i64 bags, i64 width, float *out, int threads) {
    advise_huge(out, bags * width * 4);
    const i64 end = offsets[bags];
#pragma omp parallel for num_threads(threads) schedule(dynamic, 64)
    for (i64 bag = 0; bag < bags; bag++) {
        float *to = out + bag * width;
        const i64 first = offsets[bag], last = offsets[bag + 1];
        i64 at = 0;
        for (; at + STRIP * LANES <= width; at += STRIP * LANES) {
            vec acc[STRIP];
            for (int s = 0; s < STRIP; s++) acc[s] = start ? load(start + at + s * LANES) : (vec){0};
            for (i64 e = first; e < last; e++) {
                if (at == 0 && e + 3 < end) prefetch_row(table + rows[e + 3] * width, width);
                const float weight = weights[order ? order[e] : e];
                const float *row = table + rows[e] * width + at;
                if (minus)
#pragma GCC unroll 16
                    for (int s = 0; s < STRIP; s++) acc[s] += weight * (load(row + s * LANES) - load(minus + at + s * LANES));
                else
#pragma GCC unroll 16
                    for (int s = 0; s < STRIP; s++) acc[s] += weight * load(row + s * LANES);
            }
            for (int s = 0; s < STRIP; s++) store(to + at + s * LANES, acc[s]);
        }
        for (; at + LANES <= width; at += LANES) {
            vec acc = start ? load(start + at) : (vec){0};
            const vec less = minus ? load(minus + at) : (vec){0};
            for (i64 e = first; e < last; e++)
                acc += weights[order ? order[e] : e] * (load(table + rows[e] * width + at) - less);
            store(to + at, acc);
        }
        for (; at < width; at++) {
            float acc = start ? start[at] : 0;
            const float less = minus ? minus[at] : 0;
            for (i64 e = first; e < last; e++)
                acc += weights[order ? order[e] : e] * (table[rows[e] * width + at] - less);
            to[at] = acc;
        }
    }
}

// Entries sorted by column, stably: the position of each, its row, and where each column begins. 0: out of memory.
int sort_by_column(const i64 *offsets, const int32_t *columns, i64 rows, i64 n_columns, i64 *order, int32_t *sorted_rows,
                   int32_t *starts) {
    int32_t *next = calloc((size_t)(n_columns + 1), 4);
    if (!next) return 0;
    for (i64 e = offsets[0]; e < offsets[rows]; e++) next[columns[e]]++;
    int32_t total = 0;
    for (i64 c = 0; c < n_columns; c++) {
        const int32_t count = next[c];
        starts[c] = next[c] = total;
        total += count;
    }
    starts[n_columns] = total;
    for (i64 r = 0; r < rows; r++)
        for (i64 e = offsets[r]; e < offsets[r + 1]; e++) {
            const int32_t at = next[columns[e]]++;
            order[at] = e, sorted_rows[at] = (int32_t)r;
        }
    free(next);
    return 1;
}

// ---------------------------------------------------------------------------------------------------- whole rows

// gradient −= ⟨gradient, row⟩ · row, for every row
void project_rows(float *gradient, const float *rows, i64 n, i64 width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 r = 0; r < n; r++) {
        float *g = gradient + r * width;
        const float *w = rows + r * width;
        const float along = dot(g, w, width);
        for (i64 i = 0; i < width; i++) g[i] -= along * w[i];
    }
}

static inline void unit(float *row, i64 width) {
    const float squares = dot(row, row, width);
    if (!(squares > 0)) return;
    const float scale = 1 / sqrtf(squares);
    for (i64 i = 0; i < width; i++) row[i] *= scale;
}

// every row divided by its norm; rows of zeros stay
void unit_rows(float *rows, i64 n, i64 width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 r = 0; r < n; r++) unit(rows + r * width, width);
}

// ---------------------------------------------------------------------------------------------------- selection: pools

typedef struct {
    float cut;      // entries whose upper bound is below it are not wanted
    int grows;      // no limit on the entries: the cut stays
    i64 keep;       // how many entries are wanted in the end
    i64 n, room;    // entries held, and room for them
    i64 settled;    // the first of them whose `bound` is the float32 value itself
    float *bound;   // upper bound on the value
    int32_t *col;   // column, among the searched ones
    int32_t *row;   // row, where rows share the pool
    i64 group;
    uint32_t *own;  // its memory where it has grown out of the search's
} pool;

typedef struct {
    const float *a, *b;           // [.., depth] both
    const i64 *a_map, *b_map;     // searched rows of a and b; null: all
    i64 rows, cols, depth;
    const float *row_bias, *col_bias, *col_threshold;  // each may be null; indexed by the row of a or b itself
    i64 together;                 // rows that share a pool
    int half, threads;
    float rounding;               // relative rounding of the products handed in by `scan`
    i64 n_pools;
    pool *pools;
    uint32_t *memory;             // of all pools
    i64 words;
    float *centred;               // a or b, less their centre
    i64 centred_words;
    float *col_norm, *col_shift, *col_slack;  // per searched column, padded to NR
    float *row_slope, *row_shift;  // per searched row
    int failed;                   // 1: a value is not a number; 2: out of memory
    i64 total;
} search;

static void fail(search *s, int how) {
#pragma omp atomic
    s->failed |= how;
}

static inline i64 a_row(const search *s, i64 r) { return s->a_map ? s->a_map[r] : r; }
static inline i64 b_row(const search *s, i64 c) { return s->b_map ? s->b_map[c] : c; }

static float value_of(const search *s, i64 r, i64 c) {
    const i64 i = a_row(s, r), j = b_row(s, c);
    float bias = 0;
    if (s->row_bias) bias = s->row_bias[i];
    if (s->col_bias) bias = s->col_bias[j];
    return dot(s->a + i * s->depth, s->b + j * s->depth, s->depth) + bias;
}

static inline int32_t row_of(const pool *p, i64 e) { return p->row ? p->row[e] : (int32_t)p->group; }

// What is certain of an entry: its value is no less than this.
static inline float lower(const search *s, const pool *p, i64 e) {
    const float high = p->bound[e];
    if (e < p->settled) return high;
    const i64 r = row_of(p, e), c = p->col[e];
    const float slack = s->row_slope[r] * s->col_norm[c] + s->col_slack[c] + (s->row_bias ? FLT_EPSILON * 2 * fabsf(s->row_shift[r]) : 0);
    const float product = fabsf(high - s->col_shift[c] - s->row_shift[r]) + slack;
    const float low = high - 2.02f * (slack + s->rounding * product);
    return low == low ? low : -INFINITY;
}

static inline int32_t key(float value) {
    union { float f; int32_t i; } bits = {value};
    return bits.i ^ ((bits.i >> 31) & 0x7fffffff);
}

static inline float unkey(int32_t k) {
    union { int32_t i; float f; } bits = {k >= 0 ? k : (k ^ 0x7fffffff)};
    return bits.f;
}

// A number that exactly k of the n keys reach, or, where equal keys forbid that, the k-th largest (1 ≤ k ≤ n).
static int32_t kth_largest(const int32_t *keys, i64 n, i64 k) {
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (i64 i = 0; i < n; i++) {
        least = keys[i] < least ? keys[i] : least;
        most = keys[i] > most ? keys[i] : most;
    }
    int64_t low = least, high = most;
    while (low < high) {
        const int32_t middle = (int32_t)(low + ((high - low + 1) >> 1));
        int32_t count = 0;
        for (i64 i = 0; i < n; i++) count += keys[i] >= middle;
        if (count == k) return middle;
        if (count > k) low = middle; else high = (int64_t)middle - 1;
    }
    return (int32_t)low;
}

// Words of memory straight from the system, given back when freed: the C library would keep it.
static uint32_t *pages(i64 words) {
    void *made = mmap(NULL, (size_t)(words + 1) * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

static void free_pages(uint32_t *memory, i64 words) {
    if (memory) munmap(memory, (size_t)(words + 1) * 4);
}

static void place(pool *p, uint32_t *memory, i64 room, int with_rows) {
    p->bound = (float *)memory, p->col = (int32_t *)memory + room, p->row = with_rows ? (int32_t *)memory + 2 * room : NULL;
    p->room = room;
}

static int grow(pool *p, i64 room) {
    const pool old = *p;
    uint32_t *memory = malloc((size_t)room * 12);
    if (!memory) return 0;
    place(p, memory, room, old.row != NULL);
    memcpy(p->bound, old.bound, (size_t)old.n * 4);
    memcpy(p->col, old.col, (size_t)old.n * 4);
    if (old.row) memcpy(p->row, old.row, (size_t)old.n * 4);
    free(old.own);
    p->own = memory;
    return 1;
}

static inline void move_entry(pool *p, i64 to, i64 from) {
    p->bound[to] = p->bound[from];
    p->col[to] = p->col[from];
    if (p->row) p->row[to] = p->row[from];
}

// Drop the entries that are certainly not among the `keep` largest, and raise the cut.
static void shrink(search *s, pool *p, int32_t *keys) {
    if (p->n <= p->keep) return;
    if (!p->row && !s->row_bias && s->rounding == 0) {  // `lower` where it is simple, many entries at a time
        const float slope = s->row_slope[p->group];
        for (i64 e = 0; e < p->settled; e++) keys[e] = key(p->bound[e]);
        for (i64 e = p->settled; e < p->n; e++) {
            const i64 c = p->col[e];
            const float low = p->bound[e] - 2.02f * (slope * s->col_norm[c] + s->col_slack[c]);
            keys[e] = low == low ? key(low) : INT32_MIN;
        }
    } else
        for (i64 e = 0; e < p->n; e++) keys[e] = key(lower(s, p, e));
    const float cut = p->keep ? unkey(kth_largest(keys, p->n, p->keep)) : INFINITY;
    if (cut > p->cut) p->cut = cut;
    i64 n = 0, settled = 0;
    for (i64 e = 0; e < p->n; e++) {
        if (p->bound[e] < p->cut) continue;
        settled += e < p->settled;
        move_entry(p, n++, e);
    }
    p->n = n, p->settled = settled;
}

// Compute every entry in float32.
static void compute(search *s, pool *p) {
    for (i64 e = p->settled; e < p->n; e++) {
        if (e + 2 < p->n) prefetch_row(s->b + b_row(s, p->col[e + 2]) * s->depth, s->depth);
        p->bound[e] = value_of(s, row_of(p, e), p->col[e]);
        if (p->bound[e] != p->bound[e]) fail(s, 1);
    }
    p->settled = p->n;
}

// Compute every entry in float32 and keep the `keep` largest: of equal ones, those found first.
static void settle(search *s, pool *p, int32_t *keys) {
    compute(s, p);
    if (p->n <= p->keep) return;
    i64 n = 0;
    if (p->keep) {
        for (i64 e = 0; e < p->n; e++) keys[e] = key(p->bound[e]);
        const int32_t least = kth_largest(keys, p->n, p->keep);
        i64 equal = p->keep;
        for (i64 e = 0; e < p->n; e++) equal -= keys[e] > least;
        for (i64 e = 0; e < p->n; e++) {
            if (keys[e] < least || (keys[e] == least && equal-- <= 0)) continue;
            move_entry(p, n++, e);
        }
        if (unkey(least) > p->cut) p->cut = unkey(least);
    }
    p->n = p->settled = n;
}

// Room for one more row of a tile.
static int reserve(search *s, pool *p, i64 more) {
    if (p->n + more <= p->room) return 1;
    if (p->grows) {
        if (grow(p, p->room + p->room / 2 + more)) return 1;
        fail(s, 2);
        return 0;
    }
    int32_t *keys = malloc((size_t)p->n * 4);
    if (!keys) {
        fail(s, 2);
        return 0;
    }
    shrink(s, p, keys);
    if (p->n + more > p->room - p->room / 8) settle(s, p, keys);  // too many for the bounds to tell apart
    free(keys);
    return 1;
}

// The entries of some products of row r with the columns col…col+count: into the pool where they may be wanted.
static inline void take(search *s, i64 r, i64 col, const float *product, i64 count) {
    pool *p = s->pools + (s->together > 1 ? r / MR : r);
    const float slope = s->row_slope[r], shift = s->row_shift[r], rounding = s->rounding;
#if defined(__AVX512F__)
    const __m512 slope_ = _mm512_set1_ps(slope), shift_ = _mm512_set1_ps(shift);
    for (i64 at = 0; at < count; at += LANES) {
        const __m512 v = _mm512_loadu_ps(product + at);
        __m512 u = _mm512_add_ps(_mm512_fmadd_ps(_mm512_loadu_ps(s->col_norm + col + at), slope_, v), shift_);
        u = _mm512_add_ps(u, _mm512_loadu_ps(s->col_shift + col + at));
        if (rounding > 0) u = _mm512_fmadd_ps(_mm512_abs_ps(v), _mm512_set1_ps(rounding), u);
        const __mmask16 real = count - at < LANES ? (__mmask16)((1u << (count - at)) - 1) : 0xffff;
        __mmask16 wanted = _mm512_mask_cmp_ps_mask(real, u, _mm512_set1_ps(p->cut), _CMP_NLT_UQ);
        if (!wanted) continue;
        if (!reserve(s, p, LANES)) return;
        wanted = _mm512_mask_cmp_ps_mask(real, u, _mm512_set1_ps(p->cut), _CMP_NLT_UQ);
        const int found = __builtin_popcount(wanted);
        const __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        _mm512_storeu_ps(p->bound + p->n, _mm512_maskz_compress_ps(wanted, u));
        _mm512_storeu_si512(p->col + p->n, _mm512_maskz_compress_epi32(wanted, _mm512_add_epi32(number, _mm512_set1_epi32((int)(col + at)))));
        if (p->row) _mm512_storeu_si512(p->row + p->n, _mm512_set1_epi32((int)r));
        p->n += found;
    }
#else
    for (i64 at = 0; at < count; at++) {
        const float v = product[at];
        const float u = v + s->col_norm[col + at] * slope + shift + s->col_shift[col + at] + rounding * fabsf(v);
        if (u < p->cut || !reserve(s, p, 1) || u < p->cut) continue;
        p->bound[p->n] = u, p->col[p->n] = (int32_t)(col + at);
        if (p->row) p->row[p->n] = (int32_t)r;
        p->n++;
    }
#endif
}

// ---------------------------------------------------------------------------------------------------- selection: product

static inline vec to_half(vec v) {  // rounded to bfloat16, to nearest even
    uvec bits = (uvec)v;
    bits += 0x7fff + ((bits >> 16) & 1);
    return (vec)(bits & 0xffff0000u);
}

// Norm of a row, and of what rounding it to bfloat16 takes away.
static void norms(const float *row, i64 n, float *norm, float *lost) {
    vec all = {0}, gone = {0};
    i64 i = 0;
    for (; i + LANES <= n; i += LANES) {
        const vec v = load(row + i), d = v - to_half(v);
        all += v * v, gone += d * d;
    }
    if (i < n) {
        float rest[LANES] = {0};
        memcpy(rest, row + i, (size_t)(n - i) * 4);
        const vec v = load(rest), d = v - to_half(v);
        all += v * v, gone += d * d;
    }
    *norm = sqrtf(sum(all)) + 1e-18f;
    *lost = sqrtf(sum(gone));
}

// Rows of `width` of them beside each other: out[depth][width], in bfloat16 out[⌈depth/2⌉][width] pairs; missing rows 0.
static void pack(const float *from, const i64 *map, i64 first, i64 count, i64 depth, int width, int half, uint32_t *out) {
    for (i64 at = 0; at < depth; at += 2 * LANES) {
        const i64 here = min64(2 * LANES, depth - at), words = half ? (here + 1) / 2 : here;
        uint32_t lines[32][2 * LANES];
        for (int c = 0; c < width; c++) {
            float rest[2 * LANES] = {0};
            const float *values = c < count ? from + (map ? map[first + c] : first + c) * depth + at : rest;
            if (c < count && here < 2 * LANES) {
                memcpy(rest, values, (size_t)here * 4);
                values = rest;
            }
#if defined(__AVX512BF16__)
            if (half) {
                const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + LANES), _mm512_loadu_ps(values));
                _mm512_storeu_si512(lines[c], (__m512i)pairs);
                continue;
            }
#endif
            store((float *)lines[c], load(values)), store((float *)lines[c] + LANES, load(values + LANES));
        }
        for (i64 w = 0; w < words; w++)
            for (int c = 0; c < width; c++) out[w * width + c] = lines[c][w];
        out += words * width;
    }
}

static void tile_single(const float *a, const float *b, i64 depth, float *out) {
    vec acc[MR][2] = {{{0}}};
    for (i64 d = 0; d < depth; d++, a += MR, b += NR) {
        const vec b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) acc[r][0] += a[r] * b0, acc[r][1] += a[r] * b1;
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) store(out + r * NR, acc[r][0]), store(out + r * NR + LANES, acc[r][1]);
}

#if defined(__AVX512BF16__)
static void tile_half(const uint32_t *a, const uint32_t *b, i64 pairs, float *out) {
    __m512 acc[MR][2];
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
    for (i64 d = 0; d < pairs; d++, a += MR, b += NR) {
        const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            const __m512bh ar = (__m512bh)_mm512_set1_epi32((int)a[r]);
            acc[r][0] = _mm512_dpbf16_ps(acc[r][0], ar, b0);
            acc[r][1] = _mm512_dpbf16_ps(acc[r][1], ar, b1);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) _mm512_storeu_ps(out + r * NR, acc[r][0]), _mm512_storeu_ps(out + r * NR + LANES, acc[r][1]);
}
#endif

// 1 where the product of this build can be bfloat16.
int has_half(void) {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}

// Products of the given pools' rows with all columns.
static void multiply(search *s, const i64 *chosen, i64 n_chosen) {
    const int half = s->half && has_half();
    const i64 words = half ? (s->depth + 1) / 2 : s->depth;
    i64 panel = PANEL_BYTES / (words * 4 + 1) / NR * NR;
    if (panel < NR) panel = NR;
    i64 n_rows = 0;  // `together` is 1 or MR, and only the last pool may have fewer rows: no strip spans two shared pools
    for (i64 i = 0; i < n_chosen; i++) {
        const i64 first = chosen[i] * s->together;
        n_rows += min64(s->together, s->rows - first);
    }
    int32_t *list = malloc((size_t)(n_rows + 1) * 4);
    i64 *a_list = malloc((size_t)(n_rows + 1) * 8);
    const i64 strips_at_once = SUPER / MR;
    const i64 words_a = min64(strips_at_once, (n_rows + MR - 1) / MR) * MR * words + 64, words_b = panel * words + 64;
    uint32_t *packed_a = pages(words_a), *packed_b = pages(words_b);
    if (!list || !a_list || !packed_a || !packed_b) {
        fail(s, 2);
        goto out;
    }
    i64 at = 0;
    for (i64 i = 0; i < n_chosen; i++)
        for (i64 r = chosen[i] * s->together; r < min64((chosen[i] + 1) * s->together, s->rows); r++)
            list[at] = (int32_t)r, a_list[at++] = a_row(s, r);
    for (i64 from = 0; from < n_rows; from += SUPER) {
        const i64 here = min64(SUPER, n_rows - from), strips = (here + MR - 1) / MR;
#pragma omp parallel num_threads(s->threads)
        {
#pragma omp for schedule(static)
            for (i64 t = 0; t < strips; t++)
                pack(s->a, a_list, from + t * MR, min64(MR, here - t * MR), s->depth, MR, half, packed_a + t * MR * words);
            for (i64 col = 0; col < s->cols; col += panel) {
                const i64 wide = min64(panel, s->cols - col), slices = (wide + NR - 1) / NR;
#pragma omp for schedule(dynamic, 1)
                for (i64 t = 0; t < slices; t++)
                    pack(s->b, s->b_map, col + t * NR, min64(NR, wide - t * NR), s->depth, NR, half, packed_b + t * NR * words);
#pragma omp for schedule(dynamic, 1)
                for (i64 t = 0; t < strips; t++)
                    for (i64 u = 0; u < slices; u++) {
                        float tile[MR * NR];
                        const uint32_t *pa = packed_a + t * MR * words, *pb = packed_b + u * NR * words;
#if defined(__AVX512BF16__)
                        if (half) tile_half(pa, pb, words, tile);
                        else
#endif
                            tile_single((const float *)pa, (const float *)pb, words, tile);
                        for (i64 r = 0; r < min64(MR, here - t * MR); r++)
                            take(s, list[from + t * MR + r], col + u * NR, tile + r * NR, min64(NR, wide - u * NR));
                    }
            }
        }
    }
out:
    free(list), free(a_list), free_pages(packed_a, words_a), free_pages(packed_b, words_b);
}

// Products made elsewhere: a block of `n` rows from `first` on (a multiple of MR) and of `wide` columns from `col` on,
// in float32 or (half) bfloat16.
void scan(search *s, const void *block, int half, i64 stride, i64 first, i64 n, i64 col, i64 wide) {
    s->rounding = half ? 0.00394f : 0;
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 1)
    for (i64 strip = 0; strip < (n + MR - 1) / MR; strip++)
        for (i64 r = strip * MR; r < min64((strip + 1) * MR, n); r++)
            for (i64 at = 0; at < wide; at += NR) {
                float products[NR] = {0};
                const i64 here = min64(NR, wide - at);
                if (half)
                    for (i64 i = 0; i < here; i++) {
                        union { uint32_t i; float f; } bits = {(uint32_t)((const uint16_t *)block)[r * stride + at + i] << 16};
                        products[i] = bits.f;
                    }
                else memcpy(products, (const float *)block + r * stride + at, (size_t)here * 4);
                take(s, first + r, col + at, products, here);
            }
}

// ---------------------------------------------------------------------------------------------------- selection: whole

void search_free(search *s) {
    if (!s) return;
    if (s->pools)
        for (i64 i = 0; i < s->n_pools; i++) free(s->pools[i].own);
    free_pages(s->memory, s->words), free_pages((uint32_t *)s->centred, s->centred_words);
    free(s->pools), free(s->col_norm), free(s->col_shift), free(s->col_slack), free(s->row_slope), free(s->row_shift);
    free(s);
}

// A search of the rows of b (columns) for every row of a. Null where memory ran out.
//   minus   taken from each row of a (of b where `turned`), which are all searched
//   keep    entries wanted per pool (one number per row of a where keep_map, else the same for all); < 0: all above 0
//   shared  rows share pools, MR of them each; the numbers in keep are then per row
//   floor   entries certainly below it are not wanted
search *search_new(const float *a, const i64 *a_map, i64 rows, const float *b, const i64 *b_map, i64 cols, i64 depth,
                   const float *minus, int turned, const float *row_bias, const float *col_bias,
                   const float *col_threshold, const i64 *keep_each, i64 keep, int shared, float floor_, int half,
                   int threads) {
    search *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    const i64 n = turned ? cols : rows;
    s->centred_words = n * depth;
    s->centred = (float *)pages(s->centred_words);
    if (!s->centred) {
        search_free(s);
        return NULL;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 i = 0; i < n; i++)
        for (i64 d = 0; d < depth; d++) s->centred[i * depth + d] = (turned ? b : a)[i * depth + d] - minus[d];
    if (turned) b = s->centred;
    else a = s->centred;
    s->a = a, s->a_map = a_map, s->rows = rows, s->b = b, s->b_map = b_map, s->cols = cols, s->depth = depth;
    s->row_bias = row_bias, s->col_bias = col_bias, s->col_threshold = col_threshold;
    s->together = shared ? MR : 1, s->half = half, s->threads = threads;
    s->n_pools = (rows + s->together - 1) / s->together;
    const size_t padded = (size_t)((cols + NR) / NR * NR + NR);
    s->pools = calloc((size_t)s->n_pools + 1, sizeof *s->pools);
    s->col_norm = calloc(padded, 4), s->col_shift = calloc(padded, 4), s->col_slack = calloc(padded, 4);
    s->row_slope = malloc((size_t)(rows + 1) * 4), s->row_shift = malloc((size_t)(rows + 1) * 4);
    if (!s->pools || !s->col_norm || !s->col_shift || !s->col_slack || !s->row_slope || !s->row_shift) {
        search_free(s);
        return NULL;
    }
    float worst = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(max : worst)
    for (i64 c = 0; c < cols; c++) {
        const i64 j = b_row(s, c);
        float lost;
        norms(b + j * depth, depth, s->col_norm + c, &lost);
        const float share = lost / s->col_norm[c];
        if (share > worst) worst = share;
        const float bias = col_bias ? col_bias[j] : 0, threshold = col_threshold ? col_threshold[j] : 0;
        s->col_slack[c] = 2 * FLT_EPSILON * (fabsf(bias) + fabsf(threshold));
        s->col_shift[c] = bias - threshold + s->col_slack[c];
        if (threshold != threshold) s->col_shift[c] = -INFINITY;
        if (!(s->col_slack[c] < INFINITY)) s->col_slack[c] = 0;
    }
    if (worst > 0.00391f) worst = 0.00391f;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (i64 r = 0; r < rows; r++) {
        const i64 i = a_row(s, r);
        float norm, lost;
        norms(a + i * depth, depth, &norm, &lost);
        const float inexact = (float)(depth + 16) * FLT_EPSILON * norm;
        s->row_slope[r] = 1.01f * (half ? lost + worst * norm + inexact : inexact);
        if (!(s->row_slope[r] < FLT_MAX)) s->row_slope[r] = FLT_MAX;
        s->row_shift[r] = row_bias ? row_bias[i] + 2 * FLT_EPSILON * fabsf(row_bias[i]) : 0;
        if (r % s->together) continue;
        pool *p = s->pools + r / s->together;
        const i64 height = min64(s->together, rows - r);
        p->group = r, p->cut = floor_;
        p->grows = keep < 0 && !keep_each;
        p->keep = p->grows ? 0 : min64(keep_each ? keep_each[i] : keep * height, height * cols);
        if (p->keep < 1 && !p->grows) p->keep = 0, p->cut = INFINITY;
        p->room = p->grows ? 256 : min64(2 * p->keep + p->keep / 2 + 64, height * cols + 2 * LANES);
    }
    const int wide = shared ? 3 : 2;
    for (i64 i = 0; i < s->n_pools; i++) s->words += wide * s->pools[i].room;
    s->memory = pages(s->words);
    if (!s->memory) {
        search_free(s);
        return NULL;
    }
    uint32_t *memory = s->memory;
    for (i64 i = 0; i < s->n_pools; i++) {
        pool *p = s->pools + i;
        place(p, memory, p->room, shared);
        memory += wide * p->room;
    }
    return s;
}

// All products by this library's own tiles.
void search_run(search *s) {
    i64 *all = malloc((size_t)(s->n_pools + 1) * 8);
    if (!all) {
        fail(s, 2);
        return;
    }
    for (i64 i = 0; i < s->n_pools; i++) all[i] = i;
    multiply(s, all, s->n_pools);
    free(all);
}

// Keys of all pools' entries one after the other; `exact`: of values, else of what is certain.
static int32_t *all_keys(search *s, int exact, i64 *n) {
    i64 *start = malloc((size_t)(s->n_pools + 1) * 8);
    if (!start) return NULL;
    *n = 0;
    for (i64 i = 0; i < s->n_pools; i++) start[i] = *n, *n += s->pools[i].n;
    int32_t *keys = malloc((size_t)(*n + 1) * 4);
    if (keys)
#pragma omp parallel for num_threads(s->threads) schedule(static)
        for (i64 i = 0; i < s->n_pools; i++)
            for (i64 e = 0; e < s->pools[i].n; e++)
                keys[start[i] + e] = key(exact ? s->pools[i].bound[e] : lower(s, s->pools + i, e));
    free(start);
    return keys;
}

static void finish_each(search *s) {
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 16)
    for (i64 i = 0; i < s->n_pools; i++) {
        pool *p = s->pools + i;
        int32_t *keys = malloc((size_t)(p->n + 1) * 4);
        if (!keys) {
            fail(s, 2);
            continue;
        }
        if (!p->grows) shrink(s, p, keys);
        if (p->grows) compute(s, p);
        else settle(s, p, keys);
        free(keys);
        i64 n = 0;
        for (i64 e = 0; e < p->n; e++) {
            const float least = s->col_threshold ? s->col_threshold[b_row(s, p->col[e])] : 0;
            if (p->bound[e] > least) move_entry(p, n++, e);
        }
        p->n = p->settled = n;
    }
}

// The `wanted` largest of all pools together, of those above zero.
static void finish_together(search *s, i64 wanted) {
    i64 n, again = 0;
    int32_t *keys = all_keys(s, 0, &n);
    i64 *redo = malloc((size_t)(s->n_pools + 1) * 8);
    if (!keys || !redo) {
        fail(s, 2);
        goto out;
    }
    float least = wanted && n >= wanted ? unkey(kth_largest(keys, n, wanted)) : 0;
    if (!(least > 0)) least = 0;
    for (i64 i = 0; i < s->n_pools; i++) {
        pool *p = s->pools + i;
        if (!(p->cut > least)) continue;
        p->n = p->settled = 0, p->cut = least, p->grows = 1;  // it may have dropped entries that are wanted
        redo[again++] = i;
    }
    s->rounding = 0;
    if (again) multiply(s, redo, again);
#pragma omp parallel for num_threads(s->threads) schedule(dynamic, 4)
    for (i64 i = 0; i < s->n_pools; i++) {
        pool *p = s->pools + i;
        i64 kept = 0, settled = 0;
        for (i64 e = 0; e < p->n; e++) {
            if (p->bound[e] < least) continue;
            settled += e < p->settled;
            move_entry(p, kept++, e);
        }
        p->n = kept, p->settled = settled;
        compute(s, p);
    }
    free(keys);
    keys = all_keys(s, 1, &n);
    if (!keys) {
        fail(s, 2);
        goto out;
    }
    const int all = n <= wanted;
    const int32_t last = all || !wanted ? INT32_MIN : kth_largest(keys, n, wanted);
    i64 equal = wanted;
    if (!all)
        for (i64 e = 0; e < n; e++) equal -= keys[e] > last;
    for (i64 i = 0; i < s->n_pools; i++) {
        pool *p = s->pools + i;
        i64 kept = 0;
        for (i64 e = 0; e < p->n; e++) {
            const int32_t k = key(p->bound[e]);
            if (!all && (!wanted || k < last || (k == last && equal-- <= 0))) continue;
            if (p->bound[e] > 0) move_entry(p, kept++, e);
        }
        p->n = p->settled = kept;
    }
out:
    free(keys), free(redo);
}

// Decide in float32. `wanted` ≥ 0: that many of all pools together. The number of entries; −1: a value is not a number;
// −2: out of memory.
i64 search_finish(search *s, i64 wanted) {
    if (!s->failed) {
        if (wanted >= 0) finish_together(s, wanted);
        else finish_each(s);
    }
    if (s->failed) return s->failed & 1 ? -1 : -2;
    s->total = 0;
    for (i64 i = 0; i < s->n_pools; i++) s->total += s->pools[i].n;
    return s->total;
}

// Write the entries sorted by token, a token being a row of a, or of b where `turned`; latents are those of the other.
// 0: out of memory.
int search_write(const search *s, int turned, i64 tokens, float *values, int32_t *latents, i64 *offsets) {
    i64 *next = calloc((size_t)(tokens + 1), 8);
    if (!next) return 0;
    for (i64 i = 0; i < s->n_pools; i++)
        for (i64 e = 0; e < s->pools[i].n; e++) next[turned ? s->pools[i].col[e] : row_of(s->pools + i, e)]++;
    i64 total = 0;
    for (i64 t = 0; t < tokens; t++) {
        const i64 count = next[t];
        offsets[t] = next[t] = total;
        total += count;
    }
    offsets[tokens] = total;
    for (i64 i = 0; i < s->n_pools; i++)
        for (i64 e = 0; e < s->pools[i].n; e++) {
            const pool *p = s->pools + i;
            const i64 at = next[turned ? p->col[e] : row_of(p, e)]++;
            values[at] = p->bound[e];
            latents[at] = (int32_t)(turned ? a_row(s, row_of(p, e)) : b_row(s, p->col[e]));
        }
    free(next);
    return 1;
}
