using AllocTools.HostMemory;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>
/// Uses a pool on page-locked memory in a process that may lock little: prints what happens, and what is locked at the
/// end.
/// </summary>
internal static class MemoryLockProbe
{
    public static int Run(PageLocking locking)
    {
        using var logging = new LoggerFactory([new LineLoggerProvider()]);
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = locking }, logging).Open();
        using (var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions()))
        {
            Try(pool, 1 << 20);
            Try(pool, 4096);
            Try(pool, 2 << 20);
            Console.WriteLine($"registered {pool.GetStatistics().RegisteredBytes}");
            Console.WriteLine($"failures {pool.GetStatistics().RegistrationFailures}");
        }
        Console.WriteLine(File.ReadLines("/proc/self/status").Single(l => l.StartsWith("VmLck:", StringComparison.Ordinal)).Replace("\t", " ", StringComparison.Ordinal));
        return 0;
    }

    private static void Try(RmaMemoryPool<HostProvider> pool, long length)
    {
        try
        {
            using RmaBuffer buffer = pool.Rent(length);
            buffer.Span.Fill(1);
            Console.WriteLine($"rented {length}");
        }
        catch (RmaRegistrationException e)
        {
            Console.WriteLine($"refused {length}: {e.ErrorName}: {e.Message}");
        }
    }
}
