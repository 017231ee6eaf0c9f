using System.Runtime.CompilerServices;
using AllocTools.Libfabric.Interop;
using AllocTools.Regions;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// Tests a registration that fails halfway and can't be undone: the transport may access the memory, so it stays where
/// it is.
/// </summary>
public sealed class HalfRegisteredTests
{
    private const int Length = 8192;

    private static readonly FakeMode Mode = new(
        FiMrMode.FI_MR_RAW | FiMrMode.FI_MR_ENDPOINT | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_LOCAL, FakeMode.RawKeySize);

    public static TheoryData<string> Calls => ["fi_mr_bind", "fi_mr_enable", "fi_mr_raw_attr"];

    [Theory]
    [MemberData(nameof(Calls))]
    public void ASlabStaysMappedAndInTheStatistics(string call)
    {
        using Life life = new();
        // A slab is a single block, so no smaller one is tried.
        long slab = life.Fails(call, () => life.Pool.Rent(1 << 20));
        Assert.Equal(slab, life.Blocks.Mapped);
        long direct = life.Fails(call, () => life.Pool.Rent(100 << 20));
        Assert.Equal((1 << 20) + (100 << 20), slab + direct);
        Assert.Equal(slab + direct, life.Blocks.Mapped);
        life.AssertServes();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void AnExposuresBufferIsQuarantined(string call)
    {
        using Life life = new();
        RmaBuffer buffer = life.Pool.Rent(Length);
        long left = life.Fails(call, () => buffer.Expose(RmaAccess.RemoteWrite));
        Assert.Equal(Length, left);
        buffer.Dispose();
        Assert.Equal(1, life.Pool.GetStatistics().QuarantinedBuffers);
        life.AssertServes();
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public void TheCallersMemoryStaysPinned(string call)
    {
        using Life life = new();
        using CountedMemory memory = new(Length);
        Assert.Equal(Length, life.Fails(call, () => life.Pool.Register(memory.Memory)));
        Assert.Equal(1, memory.Pins);
        // If the registration can be undone, the memory is not kept.
        life.World.Fail(call, FiErrno.FI_EINVAL);
        Assert.False(Assert.Throws<RmaRegistrationException>(() => life.Pool.Register(memory.Memory)).IsStillRegistered);
        Assert.Equal(1, memory.Pins);
        life.AssertServes();
    }

    // Neither the caller nor the pool has to keep a reference to it.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void TheCallersMemoryStaysThoughNothingElseRefersToIt(bool failsHalfway)
    {
        WeakReference memory = Abandon(failsHalfway);
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.True(memory.IsAlive);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference Abandon(bool failsHalfway)
    {
        using Life life = new();
        CountedMemory memory = new(Length);
        if (failsHalfway)
        {
            life.Fails("fi_mr_enable", () => life.Pool.Register(memory.Memory));
        }
        else
        {
            RmaBuffer buffer = life.Pool.Register(memory.Memory);
            life.World.Fail("fi_close mr", FiErrno.FI_EBUSY);
            buffer.Dispose();
        }
        return new WeakReference(memory);
    }

    private sealed class Life : IDisposable
    {
        private readonly IRmaContext _context;

        public Life()
        {
            _context = World.Open();
            Pool = new RmaMemoryPool<LibfabricProvider>(
                _context,
                new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, Isolation = RmaIsolation.PerExposure, DrainTimeout = TimeSpan.Zero },
                blocks: Blocks);
        }

        public FakeWorld World { get; } = new(Mode);

        public CountingAllocator Blocks { get; } = new();

        public RmaMemoryPool<LibfabricProvider> Pool { get; }

        /// <summary>Makes a registration fail halfway.</summary>
        /// <returns>The bytes that stay registered for it.</returns>
        public long Fails(string call, Func<object> register)
        {
            long before = World.RegisteredBytes;
            long failures = Pool.GetStatistics().DeregistrationFailures;
            World.Fail(call, FiErrno.FI_EINVAL);
            World.Fail("fi_close mr", FiErrno.FI_EBUSY);
            RmaRegistrationException error = Assert.Throws<RmaRegistrationException>(register);
            Assert.True(error.IsStillRegistered);
            Assert.Contains(call, error.Message, StringComparison.Ordinal);
            Assert.Contains("fi_close (registration) failed with FI_EBUSY", error.Message, StringComparison.Ordinal);
            RmaPoolStatistics after = Pool.GetStatistics();
            Assert.Equal(failures + 1, after.DeregistrationFailures);
            Assert.Equal(World.RegisteredBytes, after.RegisteredBytes);
            return World.RegisteredBytes - before;
        }

        public void AssertServes()
        {
            using RmaBuffer buffer = Pool.Rent(Length);
            using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
        }

        public void Dispose()
        {
            Pool.Dispose();
            _context.Dispose();
            // Registrations that can't be closed keep their parents open; nothing is closed before its children.
            Assert.Equal("", World.Misuse);
            Assert.True(World.OpenRegistrations > 0);
            Assert.Equal(World.RegisteredBytes, Pool.GetStatistics().RegisteredBytes);
        }
    }
}
