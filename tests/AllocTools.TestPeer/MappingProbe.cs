using System.Globalization;
using System.Runtime.InteropServices;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.TestPeer;

/// <summary>
/// Uses up nearly all mappings that the system allows a process (vm.max_map_count), then makes a pool grow until it is
/// refused.
/// </summary>
internal static partial class MappingProbe
{
    public static int Run()
    {
        long most = long.Parse(File.ReadAllText("/proc/sys/vm/max_map_count"), CultureInfo.InvariantCulture);
        nint page = Environment.SystemPageSize;
        // Neighbouring pages with different protection are separate mappings.
        for (long i = File.ReadLines("/proc/self/maps").LongCount(); i < most - (most / 25); i++)
        {
            if (mmap(0, page, (int)(i % 2), 0x22, -1, 0) == -1)
                return 3;
        }
        using IRmaContext context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
        var options = new RmaMemoryPoolOptions();
        options.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 });
        using var pool = new RmaMemoryPool<HostProvider>(context, options);
        List<RmaBuffer> rented = [];
        try
        {
            // Each rent takes a region.
            while (rented.Count < most)
                rented.Add(pool.Rent(page));
            Console.Out.WriteLine($"rented {rented.Count}");
        }
        catch (RmaRegistrationException e)
        {
            Console.Out.WriteLine($"refused: {e.ErrorName}: {e.Message}");
        }
        rented[0].Dispose();
        rented.RemoveAt(0);
        rented.Add(pool.Rent(page));
        rented.ForEach(b => b.Dispose());
        Console.Out.WriteLine("served");
        return 0;
    }

    [LibraryImport("libc")]
    private static partial nint mmap(nint address, nint length, int protection, int flags, int descriptor, long offset);
}
