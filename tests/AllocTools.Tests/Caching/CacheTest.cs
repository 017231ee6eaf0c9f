using AllocTools.Caching;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>
/// The base of tests of a cache over a pool whose registrations are counted; at the end, all of them must be gone.
/// </summary>
public abstract class CacheTest : IAsyncDisposable
{
    private protected CountingContext Context { get; } = new();

    private protected TestPool Test { get; }

    protected CacheTest() => Test = new TestPool(Context, o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);

    protected static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await Test.DisposeAsync();
        GC.SuppressFinalize(this);
        Assert.Equal(0, Context.Live);
        Assert.Equal(0, Test.Statistics.RegisteredBytes);
    }

    protected RmaRegistrationCache Cache(long maxBytes = 1 << 20, int maxEntries = 100) =>
        new(Test.Pool, new RmaRegistrationCacheOptions { MaxBytes = maxBytes, MaxEntries = maxEntries });

    protected static unsafe nint AddressOf(ReadOnlyMemory<byte> pinned)
    {
        fixed (byte* start = pinned.Span)
            return (nint)start;
    }
}
