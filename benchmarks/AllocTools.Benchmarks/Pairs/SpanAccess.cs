using System.Runtime.CompilerServices;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>Gets a buffer's span and writes a byte, with and without the check of the lease's generation.</summary>
internal static class SpanAccess
{
    public static IWorkload Checked()
    {
        OwnPool own = new();
        RmaBuffer buffer = own.Pool.Rent(4096);
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    buffer.Span[i & 4095] = 1;
            },
            () =>
            {
                buffer.Dispose();
                own.Dispose();
            });
    }

    public static unsafe IWorkload Unchecked()
    {
        OwnPool own = new();
        RmaBuffer buffer = own.Pool.Rent(4096);
        StrongBox<(nint Address, int Length)> raw = new((buffer.Address, 4096));
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    new Span<byte>((void*)raw.Value.Address, raw.Value.Length)[i & 4095] = 1;
            },
            () =>
            {
                buffer.Dispose();
                own.Dispose();
            });
    }
}
