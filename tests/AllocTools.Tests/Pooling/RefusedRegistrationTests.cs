using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests that nothing is left behind when the provider refuses a registration.</summary>
public sealed class RefusedRegistrationTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public async Task ARefusedRegistrationLeaksNothingAndThePoolGoesOn(int refused)
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var test = new TestPool(context, o =>
        {
            o.MaxSlabBytes = 64 << 10;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 64 << 10 });
        }, blocks: blocks);
        context.BeforeRegister = (number, length) =>
        {
            if (number == refused)
                throw CountingContext.Refusal(length);
        };
        List<RmaBuffer> buffers = [];
        int failures = 0;
        for (int i = 0; i < 6; i++)
        {
            try
            {
                buffers.Add(test.Pool.Rent(64 << 10));
            }
            catch (RmaRegistrationException e)
            {
                Assert.Equal("FI_ENOMEM", e.ErrorName);
                Assert.Equal(64 << 10, e.Length);
                failures++;
            }
        }
        Assert.Equal(1, failures);
        Assert.Equal(1, test.Statistics.RegistrationFailures);
        Assert.Equal(5, buffers.Count);
        Assert.Equal(5 * (64 << 10), test.Statistics.RegisteredBytes);
        Assert.Equal(blocks.Mapped, test.Statistics.RegisteredBytes);
        buffers.ForEach(b => b.Dispose());
        await test.DisposeAsync();
        Assert.Equal(0, blocks.Mapped);
        Assert.Equal(0, context.Live);
        Assert.True(context.WasClosed);
    }

    [Fact]
    public async Task WhereManyBlocksAreRefusedOneIsTried()
    {
        var context = new CountingContext { BeforeRegister = (_, length) => { if (length > 4096) throw CountingContext.Refusal(length); } };
        await using var test = new TestPool(context);
        using RmaBuffer buffer = test.Pool.Rent(1000);
        Assert.Equal(4096, test.Statistics.RegisteredBytes);
        Assert.Equal(1, test.Statistics.RegistrationFailures);
    }

    [Fact]
    public async Task OnlyACallersMistakeIsThrownBeforeThereIsATask()
    {
        var context = new CountingContext { BeforeRegister = (_, length) => throw CountingContext.Refusal(length) };
        await using var test = new TestPool(context);
        Task<RmaBuffer> refused = test.Pool.RentAsync(1000, Token).AsTask();
        await Assert.ThrowsAsync<RmaRegistrationException>(() => refused);
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = test.Pool.RentAsync(0, Token).AsTask(); });
        // The pool is closed while it registers memory for the request.
        context.BeforeRegister = (_, _) => test.Pool.Dispose();
        Task<RmaBuffer> late = test.Pool.RentAsync(1000, Token).AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => late);
        Assert.Throws<ObjectDisposedException>(() => { _ = test.Pool.RentAsync(1000, Token).AsTask(); });
    }

    [Fact]
    public async Task AFailedDeregistrationKeepsTheMemoryMappedAndIsLoggedAndCounted()
    {
        var blocks = new CountingAllocator();
        var context = new CountingContext();
        var logs = new FakeLogCollector();
        using var logging = LoggerFactory.Create(b => b.AddProvider(new FakeLoggerProvider(logs)));
        var test = new TestPool(context, logging: logging, blocks: blocks);
        test.Pool.Rent(1000).Dispose();
        long mapped = blocks.Mapped;
        context.FailDeregister = true;
        await test.DisposeAsync();
        Assert.Equal(mapped, blocks.Mapped);
        Assert.Equal(1, test.Statistics.DeregistrationFailures);
        Assert.False(context.WasClosed, "a parent with an open child must not be closed");
        Assert.Contains(logs.GetSnapshot(), l => l.Id.Id == 3 && l.Level == LogLevel.Error);
    }
}
