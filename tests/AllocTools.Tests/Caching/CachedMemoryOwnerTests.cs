using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Caching;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.Extensions.Options;
using Xunit;

namespace AllocTools.Tests.Caching;

/// <summary>
/// Tests registrations of memory that has an owner: native memory, mappings, memory managers, and memory that is only
/// read.
/// </summary>
public sealed class CachedMemoryOwnerTests : CacheTest
{
    [Fact]
    public unsafe void NativeMemoryIsFoundUntilItsOwnerSaysThatItGoes()
    {
        using RmaRegistrationCache cache = Cache();
        nint memory = (nint)NativeMemory.AlignedAlloc(8192, 4096);
        cache.Register(memory, 8192).Dispose();
        using (RmaBuffer part = cache.Register(memory + 100, 4000))
            part.Span.Fill(1);
        Assert.Equal(1, Context.Registrations);
        Assert.True(cache.Invalidate(memory + 8192, 100));
        Assert.Equal(1, Context.Live);
        Assert.True(cache.Invalidate(memory + 8191, 1));
        Assert.Equal((0, 1), (Context.Live, cache.GetStatistics().Invalidations));
        cache.Register(memory, 8192).Dispose();
        Assert.Equal(2, Context.Registrations);
        Assert.True(cache.Invalidate(memory, 8192));
        NativeMemory.AlignedFree((void*)memory);
        Assert.True(cache.Invalidate(memory, 0));
    }

    [Fact]
    public async Task MemoryInUseGoesWithItsLastBuffer()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = GC.AllocateArray<byte>(1000, pinned: true);
        Memory<byte> memory = MemoryMarshal.CreateFromPinnedArray(array, 0, 1000);
        RmaBuffer buffer = cache.Register(memory);
        RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead);
        Assert.False(cache.Invalidate(memory));
        Task gone = cache.InvalidateAsync(buffer.Address, 10, Token);
        // The registration is no longer found, though it is in use.
        cache.Register(memory).Dispose();
        Assert.Equal((2, 2), (Context.Registrations, Context.Live));
        buffer.Dispose();
        // The exposure still holds the registration.
        Assert.False(gone.IsCompleted);
        Assert.Equal(2, Context.Live);
        exposure.Dispose();
        await gone.WaitAsync(TestTime.Seconds(30), Token);
        Assert.Equal(1, Context.Live);
        Assert.True(cache.Invalidate(memory));
        Assert.Equal(0, Context.Live);
    }

    [Fact]
    public async Task AnOwnerIsToldThatItsMemoryMustStay()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[100];
        RmaBuffer buffer = cache.Register(array);
        Task gone = cache.InvalidateAsync(buffer.Address, 1, Token);
        context.FailDeregister = true;
        buffer.Dispose();
        Assert.True((await Assert.ThrowsAsync<RmaRegistrationException>(() => gone)).IsStillRegistered);
        Assert.True(Assert.Throws<RmaRegistrationException>(() => cache.Invalidate(array)).IsStillRegistered);
        Assert.Equal(100, test.Statistics.StrandedBytes);
    }

    [Fact]
    public void WhatIsReadOnlyToTheCallerIsWrittenByNobody()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[100];
        using RmaBuffer writable = cache.Register(array);
        using RmaBuffer readOnly = cache.RegisterReadOnly(array);
        Assert.Equal(1, Context.Registrations);
        using RmaExposure exposure = writable.Expose(RmaAccess.RemoteWrite);
        using RmaExposure read = readOnly.Expose(RmaAccess.RemoteRead);
        Assert.Equal("EACCES", Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteWrite)).ErrorName);
        using IRmaEndpoint endpoint = Context.OpenEndpoint();
        Assert.Equal("EACCES", Assert.Throws<RmaOperationException>(() => endpoint.TryPost(RmaOperation.Receive(readOnly))).ErrorName);
    }

    [Fact]
    public void MemoryOfAManagerIsPinnedAndRegisteredWhileItIsLeased()
    {
        using RmaRegistrationCache cache = Cache();
        using var memory = new Counted();
        using (RmaBuffer buffer = cache.Register(memory.Memory))
        using (RmaBuffer other = cache.Register(memory.Memory[10..]))
            Assert.Equal((1, 1), (memory.Pins, Context.Live));
        Assert.Equal((0, 0), (memory.Pins, Context.Live));
        Assert.Equal(1, Context.Registrations);
    }

    [Fact]
    public void AMappingStaysInPlaceUntilItIsDeregistered()
    {
        using RmaRegistrationCache cache = Cache();
        using MemoryMappedFile file = MemoryMappedFile.CreateNew(null, 8192);
        MemoryMappedViewAccessor view = file.CreateViewAccessor(0, 5000);
        view.Write(4999, (byte)7);
        cache.Register(view).Dispose();
        RmaBuffer buffer = cache.Register(view);
        Assert.Equal(5000, buffer.Length);
        Assert.Equal(1, Context.Registrations);
        view.Dispose();
        Assert.Equal(7, buffer.Span[4999]);
        Assert.Throws<ObjectDisposedException>(() => cache.Register(view));
        buffer.Dispose();
        // A registration of a disposed view can't be found any more, so it is not kept.
        Assert.Equal((0, 1), (Context.Live, cache.GetStatistics().Invalidations));
        MemoryMappedViewAccessor other = file.CreateViewAccessor(0, 5000);
        cache.Register(other).Dispose();
        SafeBuffer mapping = other.SafeMemoryMappedViewHandle;
        other.Dispose();
        Assert.False(mapping.IsClosed);
        Assert.True(cache.Invalidate(other));
        Assert.True(mapping.IsClosed);
        Assert.True(cache.Invalidate(other));
        using MemoryMappedViewAccessor third = file.CreateViewAccessor();
        using (RmaBuffer part = cache.Register(third.SafeMemoryMappedViewHandle, 100, 50))
            Assert.Equal(50, part.Length);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => cache.Register(third.SafeMemoryMappedViewHandle, 8192, 1)).ParamName);
    }

    [Fact]
    public void WhoseMemoryItIsDecidesNotWhereItIs()
    {
        using RmaRegistrationCache cache = Cache();
        Memory<byte> array = MemoryMarshal.CreateFromPinnedArray(GC.AllocateArray<byte>(100, pinned: true), 0, 100);
        cache.Register(array).Dispose();
        using (RmaBuffer native = cache.Register(AddressOf(array), 100))
            Assert.Equal((2, 1), (Context.Registrations, Context.Live));
        cache.Register(array[..50]).Dispose();
        Assert.Equal((3, 1), (Context.Registrations, Context.Live));
        Assert.Equal(2, cache.GetStatistics().Replacements);
    }

    /// <summary>The transport registers what was asked for, unless it had already registered more.</summary>
    [Fact]
    public void MemoryThatIsOnlyReadIsRegisteredSoUntilItIsWritten()
    {
        using RmaRegistrationCache cache = Cache();
        byte[] array = new byte[1000];
        using (RmaBuffer readOnly = cache.RegisterReadOnly(array))
            Assert.Equal((true, RmaAccess.Local | RmaAccess.RemoteRead), (readOnly.IsReadOnly, readOnly.Access));
        cache.RegisterReadOnly(array.AsMemory(5)).Dispose();
        Assert.Equal((1, 1), (Context.Registrations, Context.ReadOnlyRegistrations));
        using (RmaBuffer inUse = cache.RegisterReadOnly(array))
        using (RmaBuffer writable = cache.Register(array))
        {
            Assert.Equal((2, 2), (Context.Registrations, Context.Live));
            Assert.False(writable.IsReadOnly);
            writable.Expose(RmaAccess.RemoteWrite).Dispose();
        }
        Assert.Equal((1, 1), (Context.Live, cache.GetStatistics().Entries));
        cache.RegisterReadOnly(array).Dispose();
        Assert.Equal((2, 1), (Context.Registrations, Context.ReadOnlyRegistrations));
        Test.CheckBooks();
    }

    [Fact]
    public async Task AnExposureOfAPartHasARegistrationOfThatPartWhereExposuresAreApart()
    {
        var context = new CountingContext();
        await using var test = new TestPool(context, o =>
        {
            o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite;
            o.Isolation = RmaIsolation.PerExposure;
        });
        using var cache = new RmaRegistrationCache(test.Pool);
        byte[] array = new byte[1000];
        cache.Register(array).Dispose();
        List<long> lengths = [];
        context.BeforeRegister = (_, length) => lengths.Add(length);
        using (RmaBuffer part = cache.Register(array.AsMemory(100, 50)))
        using (RmaExposure exposure = part.Expose(RmaAccess.RemoteWrite))
            Assert.Equal(2, context.Live);
        Assert.Equal([50], lengths);
        Assert.Equal(1, context.Live);
        // The buffer stays read-only even if the registration that serves it is not.
        using (RmaBuffer readOnly = cache.RegisterReadOnly(array))
        using (RmaExposure exposure = readOnly.Expose(RmaAccess.RemoteRead))
            Assert.Equal(1, context.ReadOnlyRegistrations);
    }

    [Fact]
    public void AViewThatWasDisposedIsNotKept()
    {
        using RmaRegistrationCache cache = Cache();
        using MemoryMappedFile file = MemoryMappedFile.CreateNew(null, 8192);
        MemoryMappedViewAccessor leased = file.CreateViewAccessor(0, 5000);
        RmaBuffer buffer = cache.Register(leased);
        leased.Dispose();
        buffer.Dispose();
        Assert.Equal(0, Context.Live);
        MemoryMappedViewAccessor idle = file.CreateViewAccessor(0, 5000);
        cache.Register(idle).Dispose();
        idle.Dispose();
        cache.Register(new byte[10]).Dispose();
        Assert.Equal((1, 10), (Context.Live, cache.GetStatistics().RegisteredBytes));
        Assert.True(idle.SafeMemoryMappedViewHandle.IsClosed);
    }

    [Fact]
    public void OwnersMayAskWhetherTheirMemoryHasGoneWhileItIsReleased()
    {
        using RmaRegistrationCache cache = Cache();
        using var asking = new Counted { OnUnpin = m => cache.Invalidate(m.Address, 4096) };
        cache.Register(asking.Memory).Dispose();
        Assert.Equal((0, true), (asking.Pins, asking.Answer));
        bool? isGone = null;
        var native = new AskingBuffer(b => isGone = cache.Invalidate(b, 4096));
        cache.Register(native, 0, 4096).Dispose();
        nint address = native.DangerousGetHandle();
        native.Dispose();
        Assert.Null(isGone);
        Assert.True(cache.Invalidate(address, 1));
        Assert.True(isGone);
        Assert.Equal(0, Context.Live);
    }

    [Fact]
    public async Task AnAnswerThatMemoryIsInUseLeavesNoTaskWhoseFailureNobodySees()
    {
        // A length that no other test uses, so that errors about it can be recognised.
        const int Length = 7_919;
        var context = new CountingContext();
        await using var test = new TestPool(context);
        using var cache = new RmaRegistrationCache(test.Pool);
        List<Exception> unseen = [];
        void Note(object? sender, UnobservedTaskExceptionEventArgs e)
        {
            lock (unseen)
                unseen.AddRange(e.Exception.InnerExceptions.Where(i => i is RmaRegistrationException { Length: Length }));
        }
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            AskInVain(cache, context, new byte[2 * Length], Length);
            for (int i = 0; i < 3; i++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }
        Assert.Empty(unseen);
        Assert.Equal(2 * Length, test.Statistics.StrandedBytes);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static void AskInVain(RmaRegistrationCache cache, CountingContext context, byte[] array, int length)
    {
        // Two registrations, whose ends are awaited together.
        RmaBuffer buffer = cache.Register(array.AsMemory(0, length));
        RmaBuffer other = cache.Register(array.AsMemory(length, length));
        using var cancelled = new CancellationTokenSource();
        Assert.False(cache.Invalidate(array));
        Task gone = cache.InvalidateAsync(buffer.Address, array.Length, cancelled.Token);
        cancelled.Cancel();
        Assert.True(gone.IsCanceled);
        context.FailDeregister = true;
        buffer.Dispose();
        other.Dispose();
    }

    /// <summary>Memory whose pins are counted.</summary>
    private sealed unsafe class Counted : MemoryManager<byte>
    {
        private readonly nint _address = (nint)NativeMemory.AlignedAlloc(4096, 4096);

        public int Pins { get; private set; }

        public nint Address => _address;

        /// <summary>Called when the last pin ends.</summary>
        public Func<Counted, bool>? OnUnpin { get; init; }

        /// <summary>Gets the result of <c>OnUnpin</c>.</summary>
        public bool? Answer { get; private set; }

        public override Span<byte> GetSpan() => new((void*)_address, 4096);

        public override MemoryHandle Pin(int elementIndex = 0)
        {
            Pins++;
            return new MemoryHandle((byte*)_address + elementIndex, pinnable: this);
        }

        public override void Unpin()
        {
            if (--Pins == 0)
                Answer = OnUnpin?.Invoke(this);
        }

        protected override void Dispose(bool disposing) => NativeMemory.AlignedFree((void*)_address);
    }

    /// <summary>Native memory that calls back while it is released.</summary>
    private sealed unsafe class AskingBuffer : SafeBuffer
    {
        private readonly Action<nint> _ask;

        public AskingBuffer(Action<nint> ask)
            : base(ownsHandle: true)
        {
            _ask = ask;
            SetHandle((nint)NativeMemory.AlignedAlloc(4096, 4096));
            Initialize(4096);
        }

        protected override bool ReleaseHandle()
        {
            _ask(handle);
            NativeMemory.AlignedFree((void*)handle);
            return true;
        }
    }
}
