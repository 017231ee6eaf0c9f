using System.Runtime.CompilerServices;
using AllocTools.Pooling;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Measures only the layer that holds a thread's idle blocks: takes one and puts it back, without a lease or any checks.</summary>
internal static class IdleBlocks
{
    /// <summary>The pool's own layer: a magazine per thread, found by the thread's number.</summary>
    public static IWorkload OfThreads()
    {
        Magazine?[] magazines = new Magazine?[64];
        int mode = 0;
        return new Workload(operations =>
        {
            int number = ThreadNumbers.GetOrTake();
            if (magazines[number] is null)
            {
                magazines[number] = new Magazine(number, Magazine.MaxCapacity, Magazine.MaxCapacity);
                magazines[number]!.TryPush(new FreeBlock(1, 0), ref mode);
            }
            for (int i = 0; i < operations; i++)
            {
                if (Own(magazines) is { } from && from.TryPop(out FreeBlock block) && Own(magazines) is { } to)
                    to.TryPush(block, ref mode);
            }
        });
    }

    public static IWorkload OfCores()
    {
        CoreStack stack = new();
        return new Workload(operations =>
        {
            ulong block = 1;
            for (int i = 0; i < operations; i++)
            {
                stack.TryPush(block);
                stack.TryPop(out block);
            }
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Magazine? Own(Magazine?[] magazines)
    {
        int number = ThreadNumbers.Current;
        return (uint)number < (uint)magazines.Length ? magazines[number] : null;
    }
}
