// The stream on a GPU: words -> deviates -> lattice -> values in one kernel, the integers of the reference engine.
//
// `source.py` puts the arrays `table_c0`, `table_c1` and `table_c2` and the structure `Parameters` above this text. It is
// compiled by NVRTC, nvcc or, for tests, by a C++ compiler for the host, where a loop over blocks and threads stands for
// the device. It needs no headers. All numbers are integers until the last product, which is exact, so no option of a
// compiler can change a bit.
//
// How the work is cut. A thread draws one block of Philox at a time, four neighbouring words of the stream, and strides
// over the grid. Where memory has the order of the stream (`dense`) it stores them as one or two vectors. Elsewhere
// (`strided`) each of the four goes to its place, and neighbouring threads write to neighbouring memory if any axis of
// the target has such.
//
// The cost. For an element of float32 in a dense array nvcc 13 makes 20 instructions of a uniform law on sm_90, 37
// of a normal and 61 of a truncated one. An H100 issues 128 a clock on each of 132 processors: at 1.755 GHz that is
// 1460, 810 and 490 thousand million elements a second, where memory of 3 TB/s takes 750. Measured on an H100, 1 GiB:
// 760, 575 and 343 (CuPy), where a fill reaches 810; on an H200, whose fill reaches 1160, 930, 575 and 340.
//
// The place of the table. Each thread looks up another row. Constant memory would serve a warp one row after another,
// and the cache behind __ldg one line of 128 bytes after another, about 25 for the 32 threads of a warp. Shared memory
// has 32 banks of 4 bytes, and a row of 8 bytes takes two of them. Half a warp at a time has about 3 rows in the same
// banks, which makes 6 turns for a warp: an H100 looks up 1200 thousand million rows a second, and an A100 800, more
// than their memory takes. So each block of threads copies the rows that its law can reach: 16 KiB for a normal law (32 octaves), at most 30.5 KiB for a truncated one (61 octaves), 2.5 KiB between -2
// and 2 deviations; a law by a table of its own fills 48 KiB. Blocks that do so are as large as they can be, so that
// few copies are made.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
#define CONSTANT // devices before Volta have no such parameters
#else
#define CONSTANT __grid_constant__
#endif
#define KERNEL(name, threads)                                                                                          \
    extern "C" __global__ void __launch_bounds__(threads) name(const CONSTANT Parameters p)
#else
#define DEVICE inline
#endif

enum class Kind { uniform, normal, truncated, quantile, words };
enum class Form { float32, float64, float16, bfloat16, uint32 };

const u32 SEGMENTS = 64;       // of an octave of the table
const u32 COLUMNS = 3 * 64 * SEGMENTS; // numbers of a law by a table: c0, c1, c2 of 2 x 32 octaves
const u32 WIDE_THREADS = 1024; // of a block that copies the table
const u32 THREADS = 256;       // of one that does not
const int ROUNDS = 10;         // of Philox

static_assert(sizeof(Parameters::keys) == 2 * ROUNDS * sizeof(u32), "two words of the key for each round");

// The zeros above the highest 1 of x > 0.
DEVICE u32 leading_zeros(u32 x) {
#ifdef __CUDACC__
    u32 zeros; // in one instruction, where __clz, which also counts those of 0, takes two
    asm("bfind.shiftamt.u32 %0, %1;" : "=r"(zeros) : "r"(x));
    return zeros;
#else
    return __builtin_clz(x);
#endif
}

DEVICE u32 leading_zeros(u64 x) {
    u32 high = (u32)(x >> 32);
    return leading_zeros(high ? high : (u32)x) + (high ? 0 : 32);
}

DEVICE u32 high_product(u32 a, u32 b) {
#ifdef __CUDACC__
    return __umulhi(a, b);
#else
    return (u32)(((u64)a * b) >> 32);
#endif
}

// ---- words ----

struct Block {
    u32 w[4];
};

// Philox4x32-10 of (low half of the number, high half, purpose, 0).
DEVICE Block block_of(u64 number, const Parameters &p) {
    u32 c0 = (u32)number, c1 = (u32)(number >> 32), c2 = p.purpose, c3 = 0;
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int round = 0; round < ROUNDS; ++round) {
        u64 p0 = (u64)c0 * 0xD2511F53u, p1 = (u64)c2 * 0xCD9E8D57u;
        c0 = (u32)(p1 >> 32) ^ c1 ^ p.keys[2 * round];
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ p.keys[2 * round + 1];
        c3 = (u32)p0;
    }
    return {{c0, c1, c2, c3}};
}

// ---- deviates ----

// Copy the part of the table that this launch needs to shared memory, as packed rows. The rows of a quantile table do not
// fit into 64 bits, so its columns are copied as they are.
template <Kind kind> DEVICE void copy_table(u64 *table, u32 thread, u32 threads, const Parameters &p) {
    if constexpr (kind == Kind::quantile)
        for (u32 i = thread; i < COLUMNS; i += threads)
            ((i32 *)table)[i] = ((const i32 *)p.columns)[i];
    else
        for (u32 i = thread; i < p.rows * SEGMENTS; i += threads) {
            u32 row = p.octave * SEGMENTS + i;
            table[i] = (u64)table_c0[row] << p.c0_bits | (u64)table_c1[row] << 13 | table_c2[row];
        }
}

// |z| in units of 2^-27: a parabola in t from a packed row.
DEVICE u32 parabola(u64 row, u32 c0_bits, u32 t) {
    u32 c0 = (u32)(row >> 32) >> (c0_bits - 32);
    u32 c1 = (u32)(row >> 13) & ((1u << (c0_bits - 13)) - 1);
    u32 c2 = (u32)row & 0x1FFF;
    return c0 - high_product(c1 - high_product(c2, t), t);
}

// k = offset + ((+-z * scale) >> shift). The addend contains the offset, and the scale takes the sign, which is cheaper
// than changing z.
DEVICE i32 scaled(u32 z, u32 is_negative, const Parameters &p, u32 shift) {
    i32 scale = (i32)(p.scale - is_negative * (2 * p.scale));
    return (i32)(((i64)(i32)z * scale + p.addend) >> shift);
}

DEVICE i32 uniform_lattice(u32 word, const Parameters &p) {
    // 2 u is the word without its lowest bit. A scale of 2^32 is given as 2^32 - 1, with a lowest bit of 1: the high
    // half of (2 u + 1) * (2^32 - 1) is 2 u.
    return (i32)(high_product((word & ~1u) | p.lowest_bit, p.scale) + (u32)p.addend);
}

DEVICE i32 normal_lattice(u32 word, const u64 *table, const Parameters &p) {
    u32 q = word | 1;
    u32 octave = leading_zeros(q);
    u32 n = q << octave; // its highest bit is 64 segments more than there are below it
    u32 z = parabola(table[octave * SEGMENTS + (n >> 25) - SEGMENTS], 34, n << 7);
    return scaled(z, word & 1, p, 30);
}

DEVICE i32 truncated_lattice(u32 word, const u64 *table, const Parameters &p) {
    u32 u = word | 1;
    u64 x = p.low + (u64)u * (u32)(p.range >> 32) + high_product(u, (u32)p.range);
    u32 is_upper = x > p.last;
    x = is_upper ? (1ull << 62) - x : x;
    x -= x >> 61; // the exact middle, 2^61, goes to the last row of the table by one unit
    u32 zeros = leading_zeros(x); // three of them are above the 61 bits of x
    x <<= zeros;
    u32 z = parabola(table[zeros * SEGMENTS + (u32)(x >> 57) - 4 * SEGMENTS], p.c0_bits, (u32)(x >> 25));
    return scaled(z, is_upper ^ p.is_lower, p, p.shift);
}

// k in units of its octave, see `quantile_tables.py`, and the number of the octave, half * 32 + zeros.
DEVICE i32 quantile_lattice(u32 word, u32 &octave, const u64 *table) {
    u32 q = word | 1;
    u32 zeros = leading_zeros(q);
    u32 n = q << zeros, t = n << 7;
    octave = (word & 1) << 5 | zeros;
    const i32 *row = (const i32 *)table + octave * SEGMENTS + (n >> 25) - SEGMENTS;
    i32 slope = row[COLUMNS / 3] - (i32)(((i64)row[2 * COLUMNS / 3] * t) >> 32);
    return row[0] - (i32)(((i64)slope * t) >> 32);
}

// k of a word, by the law.
template <Kind kind> DEVICE i32 lattice(u32 word, const u64 *table, const Parameters &p) {
    if constexpr (kind == Kind::uniform)
        return uniform_lattice(word, p);
    else if constexpr (kind == Kind::normal)
        return normal_lattice(word, table, p);
    else
        return truncated_lattice(word, table, p);
}

// ---- values ----

DEVICE float clipped(float x, float lowest, float highest) {
#ifdef __CUDACC__
    return fminf(fmaxf(x, lowest), highest);
#else
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
#endif
}

DEVICE double clipped(double x, double lowest, double highest) {
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
}

template <Kind kind> DEVICE float single(i32 k, float unit, const Parameters &p) {
    float x = (float)k * unit; // to nearest even; the product is exact
    return kind == Kind::normal ? x : clipped(x, p.lowest32, p.highest32);
}

DEVICE u32 bits_of(float x) {
#ifdef __CUDACC__
    return __float_as_uint(x);
#else
    u32 bits;
    __builtin_memcpy(&bits, &x, 4);
    return bits;
#endif
}

DEVICE u64 bits_of(double x) {
#ifdef __CUDACC__
    return (u64)__double_as_longlong(x);
#else
    u64 bits;
    __builtin_memcpy(&bits, &x, 8);
    return bits;
#endif
}

// The nearest float16, ties to even, of a float32 that is no NaN.
DEVICE u16 half_of(float x) {
#ifdef __CUDACC__
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#else
    u32 bits = bits_of(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
    u32 exponent = rest >> 23;
    if (exponent < 102) // below 2^-25, half of the smallest
        return (u16)sign;
    if (exponent < 113) { // subnormal: in units of 2^-24
        u32 digits = (rest & 0x7FFFFF) | 0x800000, drop = 126 - exponent;
        u32 half = digits >> drop, lost = digits & ((1u << drop) - 1), middle = 1u << (drop - 1);
        return (u16)(sign | (half + (lost > middle || (lost == middle && (half & 1)))));
    }
    u32 rounded = (rest + 0xFFF + (rest >> 13 & 1)) >> 13;
    return (u16)(sign | (rounded - (112u << 10) < 0x7C00 ? rounded - (112u << 10) : 0x7C00));
#endif
}

// The nearest bfloat16, ties to even, of a float32 that is no NaN.
DEVICE u16 brain_of(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    u16 brain;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(brain) : "f"(x));
    return brain;
#else
    u32 bits = bits_of(x);
    return (u16)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
#endif
}

template <Form form> struct Bits {
    typedef u32 Type;
};
template <> struct Bits<Form::float64> {
    typedef u64 Type;
};
template <> struct Bits<Form::float16> {
    typedef u16 Type;
};
template <> struct Bits<Form::bfloat16> {
    typedef u16 Type;
};

// The bits of the value that a word becomes.
template <Kind kind, Form form>
DEVICE typename Bits<form>::Type value(u32 word, const u64 *table, const Parameters &p) {
    if constexpr (kind == Kind::words)
        return word;
    else {
        i32 k;
        u32 octave = 0;
        if constexpr (kind == Kind::quantile)
            k = quantile_lattice(word, octave, table);
        else
            k = lattice<kind>(word, table, p);
        float unit = kind == Kind::quantile && form != Form::float64 ? ((const float *)p.units)[octave] : p.unit32;
        if constexpr (form == Form::float32)
            return bits_of(single<kind>(k, unit, p));
        else if constexpr (form == Form::float16)
            return half_of(single<kind>(k, unit, p));
        else if constexpr (form == Form::bfloat16)
            return brain_of(single<kind>(k, unit, p));
        else {
            double x = (double)k * (kind == Kind::quantile ? ((const double *)p.units)[octave] : p.unit); // exact
            return bits_of(kind == Kind::normal ? x : clipped(x, p.lowest, p.highest));
        }
    }
}

// ---- memory ----

// Four values that are neighbours, from an address that is a multiple of 16 bytes, of 8 for values of 2 bytes.
#ifdef __CUDACC__
DEVICE void store(u64 address, const u32 *v) {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
                 : "memory");
}

DEVICE void store(u64 address, const u64 *v) {
    asm volatile("st.global.v2.b64 [%0], {%1, %2};" ::"l"(address), "l"(v[0]), "l"(v[1]) : "memory");
    asm volatile("st.global.v2.b64 [%0], {%1, %2};" ::"l"(address + 16), "l"(v[2]), "l"(v[3]) : "memory");
}

DEVICE void store(u64 address, const u16 *v) {
    asm volatile("st.global.v4.b16 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(address), "h"(v[0]), "h"(v[1]), "h"(v[2]), "h"(v[3])
                 : "memory");
}

DEVICE void store_one(u64 address, u32 v) { asm volatile("st.global.b32 [%0], %1;" ::"l"(address), "r"(v) : "memory"); }
DEVICE void store_one(u64 address, u64 v) { asm volatile("st.global.b64 [%0], %1;" ::"l"(address), "l"(v) : "memory"); }
DEVICE void store_one(u64 address, u16 v) { asm volatile("st.global.b16 [%0], %1;" ::"l"(address), "h"(v) : "memory"); }
#else
template <typename Type> inline void store_one(u64 address, Type v) { *(Type *)address = v; }

template <typename Type> inline void store(u64 address, const Type *v) {
    if (address % (sizeof(Type) < 4 ? 8 : 16))
        __builtin_trap(); // as a device would
    for (int j = 0; j < 4; ++j)
        store_one(address + j * sizeof(Type), v[j]);
}
#endif

template <typename Type> DEVICE bool takes_vectors(u64 address) { return address % (sizeof(Type) < 4 ? 8 : 16) == 0; }

template <Kind kind, Form form>
DEVICE void values(typename Bits<form>::Type *v, u64 number, const u64 *table, const Parameters &p) {
    Block block = block_of(number, p);
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int j = 0; j < 4; ++j)
        v[j] = value<kind, form>(block.w[j], table, p);
}

// Draw an array that lies in memory as its words do in the stream.
template <Kind kind, Form form> DEVICE void dense(u32 thread, u32 threads, const u64 *table, const Parameters &p) {
    typedef typename Bits<form>::Type Type;
    u32 skipped = (u32)p.first & 3; // words of the first block that belong to others
    u64 base = p.address - skipped * sizeof(Type), number = p.first >> 2, end = skipped + p.words;
    // Blocks that are stored as vectors: whole ones, where memory is aligned.
    u32 begin = skipped ? 1 : 0, whole = takes_vectors<Type>(base) ? (u32)(end >> 2) - begin : 0;
    for (u32 i = thread; i < p.items; i += threads) {
        Type v[4];
        values<kind, form>(v, number + i, table, p);
        u64 place = base + (u64)i * (4 * sizeof(Type));
        if (i - begin < whole)
            store(place, v);
        else
#ifdef __CUDACC__
#pragma unroll
#endif
            for (int j = 0; j < 4; ++j)
                if ((i > 0 || j >= (int)skipped) && 4ull * i + j < end)
                    store_one(place + j * sizeof(Type), v[j]);
    }
}

// Draw runs of elements that lie anywhere.
template <Kind kind, Form form> DEVICE void strided(u32 thread, u32 threads, const u64 *table, const Parameters &p) {
    typedef typename Bits<form>::Type Type;
    for (u32 i = thread; i < p.items; i += threads) {
        u32 rest = i, turn = 0;
        u64 first = p.first, place = p.address;
        for (u32 digit = 0; digit < p.digits; ++digit) {
            u32 quotient = (u32)(((u64)rest * p.magic[digit]) >> p.magic_shifts[digit]);
            u32 here = rest - quotient * p.counts[digit];
            rest = quotient;
            if (digit == p.run_digit)
                turn = here;
            first += (u64)(here * p.word_steps[digit]);
            place += (u64)(here * p.place_steps[digit]);
        }
        // Words first, first + 1, ... are elements of the run; this item is block `turn` of those they are in.
        u64 number = (first >> 2) + turn;
        i64 before = (i64)(4 * number - first); // words of the run that come before this block
        if (before >= (i64)p.words)
            continue;
        Type v[4];
        values<kind, form>(v, number, table, p);
        u64 start = place + (u64)((before >> p.pair) * p.jump); // of the block's first element, if that is of the run
        bool is_whole = before >= 0 && before + 4 <= (i64)p.words;
        if (is_whole && p.jump == (i64)(sizeof(Type) << p.pair) && takes_vectors<Type>(start))
            store(start, v);
        else
#ifdef __CUDACC__
#pragma unroll
#endif
            for (int j = 0; j < 4; ++j)
                if (before + j >= 0 && before + j < (i64)p.words)
                    store_one(start + (u64)((j >> p.pair) * p.jump) + (j & p.pair) * sizeof(Type), v[j]);
    }
}

// ---- entries ----

// dense_normal_float32 and so on: kernels or, on the host, functions of (parameters, blocks, threads of a block).
#ifdef __CUDACC__
#define ENTRY(way, kind, form)                                                                                         \
    KERNEL(way##_##kind##_##form, is_tabulated<Kind::kind> ? WIDE_THREADS : THREADS) {                                 \
        extern __shared__ u64 table[];                                                                                 \
        if (is_tabulated<Kind::kind>) {                                                                                \
            copy_table<Kind::kind>(table, threadIdx.x, blockDim.x, p);                                                 \
            __syncthreads();                                                                                           \
        }                                                                                                              \
        u32 thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;                          \
        way<Kind::kind, Form::form>(thread, threads, table, p);                                                        \
    }
#else
extern "C" u32 size_of_parameters() { return sizeof(Parameters); }
extern "C" u32 float16_of(float x) { return half_of(x); }
extern "C" u32 bfloat16_of(float x) { return brain_of(x); }

static u64 shared_memory[96 * SEGMENTS];
#define ENTRY(way, kind, form)                                                                                         \
    extern "C" void way##_##kind##_##form(const Parameters *p, u32 blocks, u32 threads) {                              \
        for (u32 block = 0; block < blocks; ++block) {                                                                 \
            for (u64 &row : shared_memory)                                                                             \
                row = ~0ull; /* so that a row that is not copied shows */                                              \
            if (is_tabulated<Kind::kind>)                                                                              \
                for (u32 thread = 0; thread < threads; ++thread)                                                       \
                    copy_table<Kind::kind>(shared_memory, thread, threads, *p);                                        \
            for (u32 thread = 0; thread < threads; ++thread)                                                           \
                way<Kind::kind, Form::form>(block * threads + thread, blocks * threads, shared_memory, *p);            \
        }                                                                                                              \
    }
#endif

template <Kind kind> constexpr bool is_tabulated = kind != Kind::uniform && kind != Kind::words;

#define ENTRIES(kind, form) ENTRY(dense, kind, form) ENTRY(strided, kind, form)
#define FORMS(kind) ENTRIES(kind, float32) ENTRIES(kind, float64) ENTRIES(kind, float16) ENTRIES(kind, bfloat16)

#ifdef ONLY_KIND
ENTRIES(ONLY_KIND, ONLY_FORM)
#else
FORMS(uniform)
FORMS(normal)
FORMS(truncated)
FORMS(quantile)
ENTRIES(words, uint32)
#endif
