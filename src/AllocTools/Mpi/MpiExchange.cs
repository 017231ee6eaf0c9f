using System.Runtime.InteropServices;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>Exchanges bytes between all ranks: MPI_Iallgather of the lengths, and MPI_Iallgatherv of the bytes.</summary>
internal static class MpiExchange
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);

    // All ranks must make collective calls in the same order, so this process runs one exchange after the other.
    private static readonly SemaphoreSlim Order = new(1);

    public static async Task<IReadOnlyList<ReadOnlyMemory<byte>>> RunAsync(MpiJob job, ReadOnlyMemory<byte> own)
    {
        await Order.WaitAsync().ConfigureAwait(false);
        try
        {
            int[] lengths = await GatherLengthsAsync(job, own.Length).ConfigureAwait(false);
            byte[] all = await GatherAsync(job, own, lengths).ConfigureAwait(false);
            var parts = new ReadOnlyMemory<byte>[lengths.Length];
            int start = 0;
            for (int rank = 0; rank < parts.Length; rank++)
            {
                parts[rank] = all.AsMemory(start, lengths[rank]);
                start += lengths[rank];
            }
            return parts;
        }
        finally
        {
            Order.Release();
        }
    }

    private static async Task<int[]> GatherLengthsAsync(MpiJob job, int length)
    {
        // The arrays are pinned until MPI no longer uses them, which is the case when the exchange ends.
        byte[] own = GC.AllocateUninitializedArray<byte>(sizeof(int), pinned: true);
        byte[] all = GC.AllocateUninitializedArray<byte>(sizeof(int) * job.Size, pinned: true);
        BitConverter.TryWriteBytes(own, length);
        await RunAsync(job, Start).ConfigureAwait(false);
        return MemoryMarshal.Cast<byte, int>(all).ToArray();

        unsafe nint Start()
        {
            nint request;
            MpiLibrary library = job.Library;
            job.Check(
                library.Calls.MPI_Iallgather(Marshal.UnsafeAddrOfPinnedArrayElement(own, 0).ToPointer(), own.Length, library.Byte, Marshal.UnsafeAddrOfPinnedArrayElement(all, 0).ToPointer(), own.Length, library.Byte, job.ExchangeCommunicator, &request),
                "MPI_Iallgather");
            return request;
        }
    }

    private static async Task<byte[]> GatherAsync(MpiJob job, ReadOnlyMemory<byte> own, int[] lengths)
    {
        byte[] sent = GC.AllocateUninitializedArray<byte>(Math.Max(own.Length, 1), pinned: true);
        long total = lengths.Sum(static l => (long)l);
        if (total > Array.MaxLength)
            throw new RmaProviderException($"The ranks passed {total} bytes to an exchange; it must have at most {Array.MaxLength}. Exchange fewer bytes, or send them as messages.");
        byte[] all = GC.AllocateUninitializedArray<byte>(Math.Max((int)total, 1), pinned: true);
        int[] counts = GC.AllocateUninitializedArray<int>(lengths.Length, pinned: true);
        int[] starts = GC.AllocateUninitializedArray<int>(lengths.Length, pinned: true);
        own.CopyTo(sent);
        for (int rank = 0, start = 0; rank < lengths.Length; start += lengths[rank++])
            (counts[rank], starts[rank]) = (lengths[rank], start);
        await RunAsync(job, Start).ConfigureAwait(false);
        GC.KeepAlive(sent);
        GC.KeepAlive(counts);
        GC.KeepAlive(starts);
        return all;

        unsafe nint Start()
        {
            nint request;
            MpiLibrary library = job.Library;
            job.Check(
                library.Calls.MPI_Iallgatherv(
                    Marshal.UnsafeAddrOfPinnedArrayElement(sent, 0).ToPointer(),
                    own.Length,
                    library.Byte,
                    Marshal.UnsafeAddrOfPinnedArrayElement(all, 0).ToPointer(),
                    (int*)Marshal.UnsafeAddrOfPinnedArrayElement(counts, 0),
                    (int*)Marshal.UnsafeAddrOfPinnedArrayElement(starts, 0),
                    library.Byte,
                    job.ExchangeCommunicator,
                    &request),
                "MPI_Iallgatherv");
            return request;
        }
    }

    /// <summary>Starts a collective call, and waits for its end.</summary>
    private static async Task RunAsync(MpiJob job, Func<nint> start)
    {
        nint request = WithinMpi(job, () =>
        {
            nint started = start();
            // If the exchange never ends, the process can't finalize MPI.
            job.BeginExchange();
            return started;
        });
        while (!WithinMpi(job, () => job.IsDone(ref request, "the exchange")))
            await Task.Delay(Pause).ConfigureAwait(false);
        job.EndExchange();
    }

    private static T WithinMpi<T>(MpiJob job, Func<T> call)
    {
        job.Enter();
        try
        {
            return call();
        }
        finally
        {
            job.Leave();
        }
    }
}
