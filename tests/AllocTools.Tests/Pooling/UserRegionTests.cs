using System.Buffers;
using System.Runtime.InteropServices;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests registrations of the caller's own memory.</summary>
public sealed class UserRegionTests
{
    [Fact]
    public async Task CallersMemoryIsRegisteredPinnedAndGivenBack()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        byte[] array = new byte[100];
        RmaBuffer buffer = test.Pool.Register(array.AsMemory(10, 50));
        buffer.Span.Fill(3);
        Assert.Equal(50, buffer.Length);
        Assert.Equal(3, array[10]);
        Assert.Equal(0, array[9]);
        Assert.Equal(50, test.Statistics.RegisteredBytes);
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        buffer.Span.Fill(4);
        Assert.Equal(4, array[59]);
        buffer.Dispose();
        Assert.Equal(0, test.Statistics.RegisteredBytes);
        Assert.Equal(0, context.Live);
        Assert.Throws<InvalidOperationException>(buffer.Dispose);
        Assert.Throws<ArgumentOutOfRangeException>(() => test.Pool.Register(Memory<byte>.Empty));
        Assert.Throws<ArgumentOutOfRangeException>(() => test.Pool.Register(0, 10));
    }

    [Fact]
    public async Task CallersMemoryCountsAgainstTheCap()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 12288;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 8192 });
        });
        using RmaBuffer block = test.Pool.Rent(1);
        Assert.Equal(8192, test.Statistics.RegisteredBytes);
        using RmaBuffer mine = test.Pool.Register(new byte[4096]);
        Assert.Throws<RmaPoolExhaustedException>(() => test.Pool.Register(new byte[1]));
        Assert.Equal(12288, test.Statistics.RegisteredBytes);
    }

    [Fact]
    public async Task UnpinningThatThrowsKeepsNobodyWaiting()
    {
        await using var test = new TestPool(o =>
        {
            o.MaxRegisteredBytes = 4096;
            o.SizeClasses.Add(new SizeClassOptions { BlockSize = 4096 });
        });
        using var memory = new Unwilling();
        RmaBuffer mine = test.Pool.Register(memory.Memory);
        Task<RmaBuffer> waiting = test.Pool.RentAsync(4096, TestContext.Current.CancellationToken).AsTask();
        Assert.False(waiting.IsCompleted);
        mine.Dispose();
        (await waiting.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken)).Dispose();
        Assert.Equal(1, test.Statistics.UnexpectedErrors);
        // The failure doesn't hide the reason why memory was not registered, either.
        await test.Pool.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => test.Pool.Register(memory.Memory));
    }

    /// <summary>Memory whose owner fails when it is unpinned.</summary>
    private sealed unsafe class Unwilling : MemoryManager<byte>
    {
        private readonly nint _address = (nint)NativeMemory.AlignedAlloc(4096, 4096);

        public override Span<byte> GetSpan() => new((void*)_address, 4096);

        public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)_address + elementIndex, pinnable: this);

        public override void Unpin() => throw new InvalidOperationException("not pinned");

        protected override void Dispose(bool disposing) => NativeMemory.AlignedFree((void*)_address);
    }
}
