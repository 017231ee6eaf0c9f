using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Blocks;
using AllocTools.Endpoints;
using AllocTools.Interop;
using AllocTools.Regions;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests memory of the caller that may not be written, may not be read, or does not exist.</summary>
public sealed partial class MemoryRightsTests : IDisposable
{
    private const int Read = 1;
    private const int Pages = 4;

    private readonly PageAllocator _pages = new();
    private readonly nint _memory;

    public unsafe MemoryRightsTests()
    {
        _memory = _pages.Allocate(Length, populate: true);
        NativeMemory.Fill((void*)_memory, (nuint)Length, 7);
    }

    private static int PageSize => Environment.SystemPageSize;

    private static int Length => Pages * PageSize;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _pages.Free(_memory, Length);

    /// <summary>Whether the kernel pins each page for a device as if it were to be written, as it does before 6.2.</summary>
    private static bool KernelPinsForWriting(IRmaContext context) =>
        context.Traits.ProviderName.StartsWith("verbs", StringComparison.Ordinal) && Environment.OSVersion.Version < new Version(6, 2);

    [Theory]
    [InlineData(RmaIsolation.Shared)]
    [InlineData(RmaIsolation.PerExposure)]
    public async Task NothingIsWrittenToMemoryThatIsReadOnlyAndAllElseIsServed(RmaIsolation isolation)
    {
        await using var test = new TestPool(o => (o.Access, o.Isolation) = (RmaAccess.RemoteRead | RmaAccess.RemoteWrite, isolation));
        using IRmaEndpoint endpoint = test.Context.OpenEndpoint();
        RmaPeer self = endpoint.InsertPeer(endpoint.Address.Span);
        // A single read-only page is enough.
        Protect(_memory + (2 * PageSize), PageSize, Read);
        using RmaBuffer readOnly = test.Pool.Register(_memory, Length);
        using RmaBuffer usual = test.Pool.Rent(Length);
        usual.Span.Clear();
        Assert.False(readOnly.Region.IsWritable);
        Assert.Equal(RmaAccess.None, readOnly.Region.Access & RmaAccess.RemoteWrite);
        Assert.True(usual.Region.IsWritable);

        using RmaExposure usualExposed = usual.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        using RemoteRegion remote = endpoint.Import(self, usualExposed.Remote);
        Assert.Equal("EACCES", (await Assert.ThrowsAsync<RmaOperationException>(() => endpoint.ReadAsync(readOnly, remote, cancellationToken: Token).AsTask())).ErrorName);
        Assert.Equal("EACCES", (await Assert.ThrowsAsync<RmaOperationException>(() => endpoint.ReceiveAsync(readOnly.Slice(0, 10), cancellationToken: Token).AsTask())).ErrorName);
        AssertRefused(() => endpoint.TryPost(RmaOperation.Read(readOnly, remote)));
        AssertRefused(() => endpoint.TryPost(RmaOperation.Receive(readOnly)));
        Assert.Equal("EACCES", Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteWrite)).ErrorName);
        Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite));

        await endpoint.WriteAsync(readOnly, remote, cancellationToken: Token);
        Assert.False(usual.Span.ContainsAnyExcept((byte)7));
        usual.Span.Clear();
        using RmaExposure exposed = readOnly.Expose(RmaAccess.RemoteRead);
        using RemoteRegion source = endpoint.Import(self, exposed.Remote);
        await endpoint.ReadAsync(usual, source, cancellationToken: Token);
        Assert.False(usual.Span.ContainsAnyExcept((byte)7));
        using RmaBuffer inbox = test.Pool.Rent(10);
        ValueTask<RmaReceiveResult> receiving = endpoint.ReceiveAsync(inbox, cancellationToken: Token);
        await endpoint.SendAsync(readOnly.Slice(0, 10), self, cancellationToken: Token);
        Assert.Equal(10, (await receiving).Length);
    }

    [Fact]
    public async Task AFileThatIsMappedToBeReadIsReadOnlyAlsoAsMemory()
    {
        await using var test = new TestPool(o => o.Access = RmaAccess.RemoteWrite);
        string path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, new byte[Length], Token);
        using (var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read))
        using (MemoryMappedViewAccessor view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read))
        using (var memory = new NativeMemoryManager(view.SafeMemoryMappedViewHandle.DangerousGetHandle(), Length))
        {
            if (KernelPinsForWriting(test.Context))
            {
                RmaRegistrationException refused = Assert.Throws<RmaRegistrationException>(() => test.Pool.Register(memory.Memory));
                Assert.Equal("FI_EFAULT", refused.ErrorName);
                Assert.Contains("before Linux 6.2", refused.Message, StringComparison.Ordinal);
                Assert.Equal(0, test.Statistics.RegisteredBytes);
            }
            else
            {
                using RmaBuffer buffer = test.Pool.Register(memory.Memory);
                Assert.Throws<RmaRegistrationException>(() => buffer.Expose(RmaAccess.RemoteWrite));
            }
        }
        File.Delete(path);
    }

    [Fact]
    public async Task MemoryThatMayNotBeReadOrIsNotMappedIsRefusedAndLeavesNothing()
    {
        await using var test = new TestPool();
        // Nothing is ever mapped there (vm.mmap_min_addr).
        RmaRegistrationException unmapped = Assert.Throws<RmaRegistrationException>(() => test.Pool.Register(PageSize, PageSize));
        Assert.Equal(("register", "EFAULT"), (unmapped.Operation, unmapped.ErrorName));
        Assert.Contains("offset 0 is not mapped", unmapped.Message, StringComparison.Ordinal);
        Assert.Throws<RmaRegistrationException>(() => test.Pool.Register(nint.MaxValue - 10, 100));

        nint unreachable = UnreachableMemory.Address;
        Assert.NotEqual(0, unreachable);
        RmaRegistrationException unreadable = Assert.Throws<RmaRegistrationException>(() => test.Pool.Register(unreachable, PageSize));
        Assert.Contains("PROT_NONE", unreadable.Message, StringComparison.Ordinal);
        Assert.Equal(0, test.Statistics.RegisteredBytes);
        Assert.Equal(0, test.Statistics.RegistrationFailures);
    }

    [Fact]
    public void RightsAreThoseOfEachPageThatTheRangeTouches()
    {
        Protect(_memory + (2 * PageSize), PageSize, Read);
        Assert.Equal(MemoryRights.All, MemoryMap.RightsOf(_memory, 2 * PageSize));
        Assert.Equal(new MemoryRights(null, true, false), MemoryMap.RightsOf(_memory, (2 * PageSize) + 1));
        Assert.Equal(MemoryRights.All, MemoryMap.RightsOf(_memory + (3 * PageSize), PageSize));
        Assert.Equal(new MemoryRights(null, true, false), MemoryMap.RightsOf(_memory + (3 * PageSize) - 1, 2));
    }

    [Fact]
    public void AMapOfManyPiecesIsReadToItsEnd()
    {
        // Neighbouring pages with different rights are separate mappings: more than one piece of the table can hold.
        const int Count = 4000;
        nint many = _pages.Allocate((long)Count * PageSize, populate: false);
        for (int i = 1; i < Count; i += 2)
            Protect(many + (i * PageSize), PageSize, Read);
        Assert.Equal(new MemoryRights(null, true, false), MemoryMap.RightsOf(many, (long)Count * PageSize));
        Assert.Equal(MemoryRights.All, MemoryMap.RightsOf(many + ((Count - 2) * PageSize), PageSize));
        _pages.Free(many, (long)Count * PageSize);
    }

    private static void AssertRefused(Action start)
    {
        RmaOperationException error = Assert.Throws<RmaOperationException>(start);
        Assert.Equal("EACCES", error.ErrorName);
        Assert.Contains("read-only", error.Message, StringComparison.Ordinal);
    }

    private static void Protect(nint address, int length, int protection) => Assert.Equal(0, mprotect(address, (nuint)length, protection));

    [LibraryImport("libc")]
    private static partial int mprotect(nint address, nuint length, int protection);

    /// <summary>Native memory as <see cref="Memory{T}"/>, as any library may provide it.</summary>
    private sealed unsafe class NativeMemoryManager(nint address, int length) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => new((void*)address, length);

        public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)address + elementIndex);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
