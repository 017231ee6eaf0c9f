using System.IO.MemoryMappedFiles;
using AllocTools.Caching;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Tests.Pooling;

/// <summary>Tests mapped files that are registered: which of them are refused, and what is given back.</summary>
public sealed class MappedFileTests : IAsyncDisposable
{
    private readonly string _path = Path.GetTempFileName();
    private readonly CountingContext _context = new();
    private readonly TestPool _test;

    public MappedFileTests() => _test = new TestPool(_context, o => (o.Access, o.MaxRegisteredBytes) = (RmaAccess.RemoteRead | RmaAccess.RemoteWrite, 1 << 20));

    private static int PageSize => Environment.SystemPageSize;

    public async ValueTask DisposeAsync()
    {
        Assert.Equal(0, _test.Statistics.RegisteredBytes);
        Assert.Equal(0, _context.Live);
        await _test.DisposeAsync();
        File.Delete(_path);
    }

    [Fact]
    public void APartOfAFileIsRegisteredFromAnyByteOn()
    {
        byte[] content = Write((3 * PageSize) + 7);
        using (RmaBuffer all = _test.Pool.RegisterFile(_path))
            Assert.True(all.Span.SequenceEqual(content));
        using (RmaBuffer part = _test.Pool.RegisterFile(_path, offset: PageSize + 5, length: 100))
            Assert.True(part.Span.SequenceEqual(content.AsSpan(PageSize + 5, 100)));
        using (RmaBuffer rest = _test.Pool.RegisterFile(_path, offset: content.Length - 1))
            Assert.Equal(content[^1], Assert.Single(rest.Span.ToArray()));
    }

    [Fact]
    public void AFileThatDoesNotFitIsRefusedAndIsClosedAgain()
    {
        Assert.Contains("is empty", Assert.Throws<IOException>(() => _test.Pool.RegisterFile(_path)).Message, StringComparison.Ordinal);
        Write(2 << 20);
        Assert.Equal("path", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterFile(_path)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterFile(_path, length: (1 << 20) + 1)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterFile(_path, length: 0)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterFile(_path, offset: 1, length: 2 << 20)).ParamName);
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterFile(_path, offset: 2 << 20)).ParamName);
        Assert.Equal("access", Assert.Throws<ArgumentException>(() => _test.Pool.RegisterFile(_path, FileAccess.Write)).ParamName);
        Assert.Throws<FileNotFoundException>(() => _test.Pool.RegisterFile(_path + ".none"));
        RmaBuffer half = _test.Pool.RegisterFile(_path, length: 600 << 10);
        Assert.Throws<RmaPoolExhaustedException>(() => _test.Pool.RegisterFile(_path, length: 600 << 10));
        half.Dispose();
        _context.BeforeRegister = (_, length) => throw CountingContext.Refusal(length);
        Assert.Throws<RmaRegistrationException>(() => _test.Pool.RegisterFile(_path, length: 10));
        // Nobody has the file open any more.
        using FileStream alone = new(_path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
    }

    [Fact]
    public void AFileThatIsRegisteredIsNotOpenedToBeWritten()
    {
        Write(100);
        using (RmaBuffer file = _test.Pool.RegisterFile(_path))
            Assert.Throws<IOException>(() => new FileStream(_path, FileMode.Truncate, FileAccess.Write, FileShare.None));
        new FileStream(_path, FileMode.Truncate, FileAccess.Write, FileShare.None).Dispose();
    }

    [Fact]
    public void AViewWhoseFileHasBecomeShorterIsRefused()
    {
        Write(4 * PageSize);
        using FileStream stream = new(_path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        using MemoryMappedViewAccessor view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        using var cache = new RmaRegistrationCache(_test.Pool);
        // A view that was registered before is refused, too.
        cache.Register(view).Dispose();
        stream.SetLength((2 * PageSize) + 1);
        foreach (Func<RmaBuffer> register in new Func<RmaBuffer>[] { () => _test.Pool.Register(view), () => cache.Register(view) })
        {
            RmaRegistrationException refused = Assert.Throws<RmaRegistrationException>(() => register().Dispose());
            Assert.Contains("has become shorter", refused.Message, StringComparison.Ordinal);
        }
        // The part that still exists can be registered.
        using MemoryMappedViewAccessor rest = file.CreateViewAccessor(0, (2 * PageSize) + 1, MemoryMappedFileAccess.Read);
        _test.Pool.Register(rest).Dispose();
    }

    [Fact]
    public void MemoryIsReadOnlyWhereTheCallerSaysSo()
    {
        byte[] array = new byte[100];
        RmaBuffer readOnly = _test.Pool.RegisterReadOnly(array);
        RmaBuffer usual = _test.Pool.Register(array);
        Assert.Equal((true, RmaAccess.Local | RmaAccess.RemoteRead), (readOnly.IsReadOnly, readOnly.Access));
        Assert.Equal((false, RmaAccess.Local | RmaAccess.RemoteRead | RmaAccess.RemoteWrite), (usual.IsReadOnly, usual.Access));
        Assert.Throws<RmaRegistrationException>(() => readOnly.Expose(RmaAccess.RemoteWrite));
        using IRmaEndpoint endpoint = _context.OpenEndpoint();
        Assert.Equal("EACCES", Assert.Throws<RmaOperationException>(() => endpoint.TryPost(RmaOperation.Receive(readOnly))).ErrorName);
        Assert.Equal("memory", Assert.Throws<ArgumentOutOfRangeException>(() => _test.Pool.RegisterReadOnly(default)).ParamName);
        readOnly.Dispose();
        Assert.Throws<InvalidOperationException>(() => readOnly.Access);
        usual.Dispose();
    }

    [Fact]
    public void ADisposedViewIsRefused()
    {
        Write(100);
        using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(_path);
        MemoryMappedViewAccessor view = file.CreateViewAccessor();
        view.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _test.Pool.Register(view));
    }

    private byte[] Write(int length)
    {
        byte[] content = new byte[length];
        Random.Shared.NextBytes(content);
        File.WriteAllBytes(_path, content);
        return content;
    }
}
