using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Lower bounds that no implementation can beat, by which a row can be judged.</summary>
internal static partial class Floors
{
    private static object s_object = new();

    [ThreadStatic]
    private static int t_number;

    public static IWorkload TwoCalls() => new Workload(operations =>
    {
        for (int i = 0; i < operations; i++)
        {
            Nothing();
            Nothing();
        }
    });

    public static IWorkload ThreadStaticIncrement() => new Workload(operations =>
    {
        int sum = 0;
        for (int i = 0; i < operations; i++)
            sum += t_number++;
        GC.KeepAlive(sum);
    });

    public static IWorkload CompareAndSwap()
    {
        ulong[] word = new ulong[1];
        return new Workload(operations =>
        {
            for (int i = 0; i < operations; i++)
                Interlocked.CompareExchange(ref word[0], word[0] + 1, word[0]);
        });
    }

    public static IWorkload Exchange() => new Workload(operations =>
    {
        object mine = new();
        for (int i = 0; i < operations; i++)
            mine = Interlocked.Exchange(ref s_object, mine);
    });

    public static IWorkload NativeCall() => new Workload(operations =>
    {
        for (int i = 0; i < operations; i++)
            _ = Absolute(i);
    });

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Nothing()
    {
    }

    [LibraryImport("libc", EntryPoint = "abs")]
    private static partial int Absolute(int value);
}
