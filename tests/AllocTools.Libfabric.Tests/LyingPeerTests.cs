using System.Diagnostics;
using System.Reflection;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>A peer that lies about what it was given. The target is a process of its own that has exposed 16 KiB in the middle of a buffer, each exposure with a key of its own.</summary>
/// <remarks>The lies are made where this library's initiator no longer looks, so what is seen is what the target's side does.</remarks>
public sealed class LyingPeerTests(ITestOutputHelper output)
{
    private const int BufferLength = 64 << 10;
    private const int Offset = 16 << 10;
    private const int Length = 16 << 10;
    private const byte Secret = 5;
    private const byte Own = 7;
    private const string ReadOfWritten = "read of what is exposed for writing";
    private const RmaAccess Both = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;

    /// <summary>Those that check each access. The traits of shm say that it does not.</summary>
    public static TheoryData<string> Enforcing => [.. Fabric.All.Where(static f => f is not (Fabric.SharedMemoryByAddress or Fabric.SharedMemoryByOffset))];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Enforcing))]
    public async Task NoLieReadsOrChangesAByteButTheOneThatIsDocumented(string fabric)
    {
        await using Target target = await Target.StartAsync(fabric);
        (int told, List<string> worked) = await LieAsync(target);
        output.WriteLine($"{fabric}: {told} lies, {worked.Count} of them worked");
        // ofi_rxm reads long messages from the sender's memory, so it lets each key read, whatever else that grants.
        string[] documented = fabric.Contains("ofi_rxm", StringComparison.Ordinal) ? [ReadOfWritten] : [];
        Assert.Empty(worked.Except(documented));
        Assert.True(target.Traits.RemoteAccessEnforced);
    }

    /// <summary>Tells each lie, as a write and as a read.</summary>
    private static async Task<(int Told, List<string> Worked)> LieAsync(Target target)
    {
        List<string> worked = [];
        int told = 0;
        RemoteMemory ended = await target.ExposeAsync(0, Both);
        await target.EndExposureAsync();
        RemoteMemory ofReturned = await target.ExposeAsync(1, Both);
        await target.EndExposureAsync();
        await target.ReuseAsync(1);
        RemoteMemory foreign;
        await using (Target other = await Target.StartAsync(target.Fabric))
            foreign = await other.ExposeAsync(0, Both);
        RemoteMemory given = await target.ExposeAsync(0, Both);
        RemoteMemory forReading = await target.ExposeAsync(0, RmaAccess.RemoteRead);
        RemoteMemory forWriting = await target.ExposeAsync(0, RmaAccess.RemoteWrite);

        foreach ((string name, ulong key) in new[] { ("one bit of the key", given.Key ^ 1), ("the key 0", 0UL), ("the last key", ulong.MaxValue), ("half of the key", given.Key >> 32) })
            await TryBothAsync(name, given.Address, Length, key);
        await TryBothAsync("behind the end", given.Address + Length, Length, given.Key);
        await TryBothAsync("far behind the end", given.Address + (1UL << 30), Length, given.Key);
        await TryBothAsync("before the start", given.Address - 4096, 4095, given.Key);
        await TryBothAsync("one byte over the end", given.Address + 1, Length, given.Key);
        await TryBothAsync("one byte before the start", given.Address - 1, Length, given.Key);
        await TryBothAsync("an end beyond the last address", ulong.MaxValue - 100, 4096, given.Key);
        await TryBothAsync("an end at the last address", ulong.MaxValue - 4096, 4096, given.Key);
        await TryBothAsync("an exposure that has ended", ended.Address, Length, ended.Key);
        await TryBothAsync("a buffer that was returned and rented again", ofReturned.Address, Length, ofReturned.Key);
        await TryBothAsync("an exposure of another process", foreign.Address, Length, foreign.Key);
        await TryAsync("write to what is exposed for reading", isWrite: true, forReading.Address, Length, forReading.Key);
        await TryAsync(ReadOfWritten, isWrite: false, forWriting.Address, Length, forWriting.Key);
        return (told, worked);

        async Task TryBothAsync(string name, ulong address, long length, ulong key)
        {
            await TryAsync($"write: {name}", isWrite: true, address, length, key);
            await TryAsync($"read: {name}", isWrite: false, address, length, key);
        }

        async Task TryAsync(string name, bool isWrite, ulong address, long length, ulong key)
        {
            told++;
            // The lie before may have cost the connection; this one must arrive.
            await target.ReachAsync(given);
            if (await target.TryAsync(isWrite, address, length, key))
                worked.Add(name);
        }
    }

    /// <summary>The process that is lied to, and this process's connection with it.</summary>
    private sealed class Target(string fabric, LocalSide side, string address, string before) : IAsyncDisposable
    {
        private RmaPeer _peer = side.Peer;
        private int _exposures;
        private string _before = before;

        public string Fabric => fabric;

        public Regions.RmaProviderTraits Traits => side.Pool.Context.Traits;

        public static async Task<Target> StartAsync(string fabric)
        {
            LocalSide side = await LocalSide.StartAsync(fabric, configure: static o => o.Endpoint.OperationTimeout = TestTime.Seconds(5), peerOptions: "isolated");
            for (int i = 0; i < 2; i++)
                await side.Process.AskAsync($"rent {BufferLength} {Secret}");
            return new Target(fabric, side, await side.Process.AskAsync("address"), await side.Process.AskAsync("hash 0") + await side.Process.AskAsync("hash 1"));
        }

        public async Task<RemoteMemory> ExposeAsync(int buffer, RmaAccess access)
        {
            _exposures++;
            return await side.ExposedAsync(buffer, Offset, Length, access);
        }

        /// <summary>The last one.</summary>
        public async Task EndExposureAsync() => Assert.Equal("ok", await side.Process.AskAsync($"conceal {_exposures - 1}"));

        /// <summary>The buffer's block goes back to the pool, and is rented again.</summary>
        public async Task ReuseAsync(int buffer) => Assert.Equal("ok", await side.Process.AskAsync($"again {buffer} {Secret}"));

        /// <summary>Does what it has a right to, until that works.</summary>
        public async Task ReachAsync(RemoteMemory given)
        {
            long start = Stopwatch.GetTimestamp();
            while (!await TryAsync(isWrite: false, given.Address, Length, given.Key))
            {
                Assert.True(Stopwatch.GetElapsedTime(start) < TestTime.Seconds(20), "The target can't be reached again.");
                side.Endpoint.RemovePeer(_peer);
                _peer = side.Endpoint.InsertPeer(Convert.FromBase64String(address));
            }
        }

        /// <summary>Reads or writes, whether it has a right to it or not.</summary>
        /// <returns>Whether a byte was changed, or came here.</returns>
        public async Task<bool> TryAsync(bool isWrite, ulong remote, long length, ulong key)
        {
            using RmaBuffer bytes = side.Pool.Rent(length);
            bytes.Span.Fill(Own);
            try
            {
                using RemoteRegion region = side.Endpoint.Import(_peer, Forge(remote, length, key));
                await (isWrite ? side.Endpoint.WriteAsync(bytes, region, TestTime.Seconds(5), Token) : side.Endpoint.ReadAsync(bytes, region, TestTime.Seconds(5), Token));
            }
            catch (RmaOperationException)
            {
                // Whether an error is seen is the transport's affair; the connection may be lost by it.
            }
            string after = await side.Process.AskAsync("hash 0") + await side.Process.AskAsync("hash 1");
            bool isChanged = after != _before;
            _before = after;
            return isChanged || (!isWrite && bytes.Span.Contains(Secret));
        }

        public ValueTask DisposeAsync() => side.DisposeAsync();

        /// <summary>A description of memory that the library itself would not make.</summary>
        private static RemoteMemory Forge(ulong address, long length, ulong key)
        {
            object forged = new RemoteMemory(address, 0, key, Both);
            typeof(RemoteMemory).GetField("<Length>k__BackingField", BindingFlags.Instance | BindingFlags.NonPublic)!.SetValue(forged, length);
            return (RemoteMemory)forged;
        }
    }
}
