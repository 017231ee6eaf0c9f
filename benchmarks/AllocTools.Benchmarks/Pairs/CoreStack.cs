using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>An alternative to magazines per thread: a stack of blocks per core, guarded by a lock that is only tried.</summary>
/// <remarks>
/// A thread may be moved to another core between reading the core's number and locking. Therefore the lock is an
/// atomic exchange each time, even if no other thread ever contends for it.
/// </remarks>
internal sealed class CoreStack
{
    private const int Capacity = 64;

    private readonly State[] _states = new State[Environment.ProcessorCount];
    private readonly ulong[][] _blocks = [.. Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new ulong[Capacity])];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPop(out ulong block)
    {
        int core = Thread.GetCurrentProcessorId() % _states.Length;
        ref State state = ref _states[core];
        block = 0;
        if (Interlocked.Exchange(ref state.Locked, 1) != 0)
            return false;
        int top = state.Count - 1;
        if (top >= 0)
        {
            block = _blocks[core][top];
            state.Count = top;
        }
        Volatile.Write(ref state.Locked, 0);
        return top >= 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryPush(ulong block)
    {
        int core = Thread.GetCurrentProcessorId() % _states.Length;
        ref State state = ref _states[core];
        if (Interlocked.Exchange(ref state.Locked, 1) != 0)
            return false;
        int top = state.Count;
        if (top < Capacity)
        {
            _blocks[core][top] = block;
            state.Count = top + 1;
        }
        Volatile.Write(ref state.Locked, 0);
        return top < Capacity;
    }

    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct State
    {
        [FieldOffset(128)]
        public int Locked;

        [FieldOffset(132)]
        public int Count;
    }
}
