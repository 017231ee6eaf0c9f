using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.AotSmoke;

/// <summary>Rents and returns, and compares the results with the statistics of the pools and with the options.</summary>
internal static class RentsAndReturns
{
    private const byte Written = 0x5A;
    private const byte Poison = 0xDD;

    public static void Check(IServiceProvider services)
    {
        var pools = services.GetRequiredService<SmokePools>();
        CheckUnnamed(pools.Unnamed);
        CheckScratch(pools.Scratch);
        pools.Third.Rent(100).Dispose();
    }

    private static void CheckUnnamed(IRmaMemoryPool pool)
    {
        RmaPoolStatistics warm = pool.GetStatistics();
        Expect.Equal(64 << 20, warm.LimitBytes);
        Expect.Equal((8 * 4096) + (2 * 65536), warm.RegisteredBytes);
        Expect.Equal(0, warm.Rents);

        RmaBuffer small = pool.Rent(3000);
        RmaBuffer large = pool.Rent(65536);
        RmaBuffer direct = pool.Rent(100_000);
        RmaPoolStatistics rented = pool.GetStatistics();
        Expect.Equal(4096, small.Capacity);
        Expect.Equal(2, rented.Hits);
        Expect.Equal(1, rented.Misses);
        Expect.Equal(3, rented.RentedBuffers);
        Expect.Equal(warm.Registrations + 1, rented.Registrations);

        small.Span.Fill(Written);
        small.Dispose();
        large.Dispose();
        pool.Return(direct);
        Expect.Equal(0, pool.GetStatistics().RentedBuffers);
        Expect.Throws<InvalidOperationException>(small.Dispose, "A second return");
        using RmaBuffer again = pool.Rent(3000);
        Expect.Equal(-1, again.Span.IndexOfAnyExcept((byte)0), "The first byte that ClearOnReturn left");
    }

    private static void CheckScratch(IRmaMemoryPool pool)
    {
        nint address;
        using (RmaBuffer buffer = pool.Rent(600))
        {
            Expect.Equal(768, buffer.Capacity);
            buffer.Span.Fill(Written);
            address = buffer.Address;
        }
        using RmaBuffer again = pool.Rent(600);
        Expect.Equal(address, again.Address);
        Expect.Equal(-1, again.Span.IndexOfAnyExcept(Poison), "The first byte that PoisonOnReturn left");
        Expect.Throws<ArgumentOutOfRangeException>(() => pool.Rent((4 << 20) + 1), "A rent over the cap");
    }
}
