using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Caching;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each fabric callers' memory that stays registered. It doesn't matter how an endpoint is driven, so one mode
/// of each fabric is enough.
/// </summary>
public abstract class RegistrationCacheConformance<TTransport>
    where TTransport : IConformingTransport
{
    private const int Length = 64 << 10;

    private static readonly string[] OtherModes = [nameof(RmaProgress.Caller), " by its caller", " at Transmit", " one call at a time"];

    [SuppressMessage("Design", "CA1000", Justification = "xunit finds the rows of a theory by a static member.")]
    public static TheoryData<string> Fabrics => [.. TTransport.Modes.Where(m => !OtherModes.Any(o => m.EndsWith(o, StringComparison.Ordinal)))];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task OperationsAndPeersReachArraysAndPartsOfThem(string fabric)
    {
        await using var pair = new ConformingPair<TTransport>(fabric);
        using var left = new RmaRegistrationCache(pair.Left.Pool);
        using var right = new RmaRegistrationCache(pair.Right.Pool);
        byte[] source = RandomNumberGenerator.GetBytes(Length);
        Memory<byte> target = MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(Length, pinned: true), 0, Length);
        left.Register(source).Dispose();
        right.Register(target).Dispose();
        for (int round = 0; round < 3; round++)
        {
            int offset = round * 1000;
            target.Span.Clear();
            using RmaBuffer from = left.Register(source.AsMemory(offset, 5000));
            using RmaBuffer to = right.Register(target.Slice(offset + 7, 5000));
            using (RmaExposure exposure = to.Expose(RmaAccess.RemoteWrite | RmaAccess.RemoteRead))
            using (RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote))
            {
                await pair.Left.Endpoint.WriteAsync(from, remote, cancellationToken: Token);
                await pair.AssertWrittenAsync(from, to);
                Assert.Equal(source[offset..(offset + 5000)], target.Slice(offset + 7, 5000).ToArray());
                Assert.False(target.Span[..(offset + 7)].ContainsAnyExcept((byte)0));
                Assert.False(target.Span[(offset + 5007)..].ContainsAnyExcept((byte)0));
                byte[] back = new byte[5000];
                using RmaBuffer read = left.Register(back);
                await pair.Left.Endpoint.ReadAsync(read, remote, cancellationToken: Token);
                Assert.Equal(source[offset..(offset + 5000)], back);
            }
        }
        Assert.Equal((3, 1), (right.GetStatistics().Hits, right.GetStatistics().Misses));
        Assert.Equal((3, 4), (left.GetStatistics().Hits, left.GetStatistics().Misses));
        using RmaBuffer inbox = right.Register(target);
        ValueTask<RmaReceiveResult> receiving = pair.Right.Endpoint.ReceiveAsync(inbox, cancellationToken: Token);
        using (RmaBuffer message = left.RegisterReadOnly(source))
            await pair.Left.Endpoint.SendAsync(message, pair.Left.Peer, cancellationToken: Token);
        Assert.Equal(Length, (await receiving).Length);
        Assert.Equal(source, target.ToArray());
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AKeyThatAPeerHasKeptReachesNoArrayThatWasCollected(string fabric)
    {
        await using var pair = new ConformingPair<TTransport>(fabric, o => o.OperationTimeout = TestTime.Seconds(5));
        using var cache = new RmaRegistrationCache(pair.Right.Pool);
        using RemoteRegion kept = await ExposeOnceAsync(pair, cache);
        DateTime limit = DateTime.UtcNow + TestTime.Seconds(30);
        while (pair.Right.Pool.GetStatistics() is { } now && now.Registrations != now.Deregistrations)
        {
            Assert.True(DateTime.UtcNow < limit, $"The array was not deregistered on {fabric}.");
            GC.Collect();
            GC.WaitForPendingFinalizers();
            await Task.Yield();
        }
        Assert.Equal(1, cache.GetStatistics().Collections);
        Assert.Equal(0, cache.GetStatistics().Entries);
        if (!pair.Traits.RemoteAccessEnforced)
            return;
        // Some of these may be allocated where the array was.
        byte[][] others = [.. Enumerable.Range(0, 50).Select(_ => GC.AllocateArray<byte>(Length, pinned: true))];
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        source.Span.Fill(7);
        Exception? error = await Record.ExceptionAsync(() => pair.Left.Endpoint.WriteAsync(source, kept, cancellationToken: Token).AsTask());
        if (pair.Traits.DeliveryComplete)
            Assert.IsAssignableFrom<RmaOperationException>(error);
        Assert.All(others, o => Assert.False(o.AsSpan().ContainsAnyExcept((byte)0)));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AViewOfAFileIsServedWithoutACopy(string fabric)
    {
        using var content = new TemporaryFile(RandomNumberGenerator.GetBytes(Length + 123));
        await using var pair = new ConformingPair<TTransport>(fabric);
        using var cache = new RmaRegistrationCache(pair.Right.Pool);
        using var file = MemoryMappedFile.CreateFromFile(content.Path);
        using var view = file.CreateViewAccessor(0, Length + 123);
        for (int round = 0; round < 3; round++)
        {
            using RmaBuffer served = cache.Register(view);
            using RmaExposure exposure = served.Expose(RmaAccess.RemoteRead);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            using RmaBuffer into = pair.Left.Pool.Rent(Length + 123);
            into.Span.Clear();
            await pair.Left.Endpoint.ReadAsync(into, remote, cancellationToken: Token);
            Assert.True(into.Span.SequenceEqual(content.Bytes));
        }
        Assert.Equal((2, 1), (cache.GetStatistics().Hits, cache.GetStatistics().Misses));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<RemoteRegion> ExposeOnceAsync(ConformingPair<TTransport> pair, RmaRegistrationCache cache)
    {
        byte[] array = GC.AllocateArray<byte>(Length, pinned: true);
        using RmaBuffer target = cache.Register(MemoryMarshal.CreateFromPinnedArray(array, 0, Length));
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
        using RmaBuffer source = pair.Left.Pool.Rent(Length);
        source.Span.Fill(5);
        await pair.Left.Endpoint.WriteAsync(source, remote, cancellationToken: Token);
        await pair.AssertWrittenAsync(source, target);
        return remote;
    }

    /// <summary>A file that is deleted at the end of the test.</summary>
    private sealed class TemporaryFile : IDisposable
    {
        public TemporaryFile(byte[] content)
        {
            Bytes = content;
            Path = System.IO.Path.GetTempFileName();
            File.WriteAllBytes(Path, content);
        }

        public byte[] Bytes { get; }

        public string Path { get; }

        public void Dispose() => File.Delete(Path);
    }
}
