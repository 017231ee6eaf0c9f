using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Security.Cryptography;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Testing.Conformance;

/// <summary>
/// Tests on each fabric that peers can read and write mapped, registered files, and can't write read-only ones.
/// </summary>
public abstract class MappedFileConformance<TTransport> : IDisposable
    where TTransport : IConformingTransport
{
    // Not a multiple of the page size.
    private const int Length = (64 << 10) + 123;

    private readonly string _path = Path.GetTempFileName();
    private readonly byte[] _content = RandomNumberGenerator.GetBytes(Length);

    protected MappedFileConformance() => File.WriteAllBytes(_path, _content);

    [SuppressMessage("Design", "CA1000", Justification = "xunit finds the rows of a theory by a static member.")]
    public static TheoryData<string> Fabrics => RegistrationCacheConformance<TTransport>.Fabrics;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        File.Delete(_path);
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AFileIsReadByAPeerAndCantBeWritten(string fabric)
    {
        await using var pair = new ConformingPair<TTransport>(fabric);
        using (RmaBuffer file = pair.Right.Pool.RegisterFile(_path))
        {
            Assert.Equal((Length, true, RmaAccess.Local | RmaAccess.RemoteRead), (file.Length, file.IsReadOnly, file.Access));
            using RmaExposure exposure = file.Expose(RmaAccess.RemoteRead);
            using RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote);
            using RmaBuffer copy = pair.Left.Pool.Rent(Length);
            copy.Span.Clear();
            await pair.Left.Endpoint.ReadAsync(copy, remote, cancellationToken: Token);
            Assert.True(copy.Span.SequenceEqual(_content));
            AssertRefused(() => file.Expose(RmaAccess.RemoteWrite));
            Assert.Throws<InvalidOperationException>(() => pair.Left.Endpoint.TryPost(RmaOperation.Write(copy, remote)));

            using RmaBuffer target = pair.Left.Pool.Rent(Length);
            using RmaExposure other = target.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
            using RemoteRegion back = pair.Right.Endpoint.Import(pair.Right.Peer, other.Remote);
            AssertRefused(() => pair.Right.Endpoint.TryPost(RmaOperation.Read(file, back)));
            AssertRefused(() => pair.Right.Endpoint.TryPost(RmaOperation.Receive(file)));
            RmaBatch batch = pair.Right.Endpoint.CreateBatch();
            AssertRefused(() => batch.Read(file, back));
            await AssertRefusedAsync(() => pair.Right.Endpoint.ReadAsync(file, back, cancellationToken: Token).AsTask());
            await AssertRefusedAsync(() => pair.Right.Endpoint.ReceiveAsync(file, cancellationToken: Token).AsTask());
            target.Span.Clear();
            await pair.Right.Endpoint.WriteAsync(file, back, cancellationToken: Token);
            await pair.AssertWrittenAsync(file, target);
        }
        Assert.Equal(_content, await File.ReadAllBytesAsync(_path, Token));
        Assert.Equal(0, pair.Right.Pool.GetStatistics().SizeClasses.Single(c => c.Name == "user").RegisteredBytes);
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task WhatAPeerWritesIsInTheFile(string fabric)
    {
        await using var pair = new ConformingPair<TTransport>(fabric);
        byte[] written = RandomNumberGenerator.GetBytes(5000);
        using (RmaBuffer file = pair.Right.Pool.RegisterFile(_path, FileAccess.ReadWrite))
        using (RmaBuffer source = pair.Left.Pool.Rent(written.Length))
        using (RmaExposure exposure = file.Expose(RmaAccess.RemoteWrite))
        using (RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote))
        {
            Assert.False(file.IsReadOnly);
            written.CopyTo(source.Span);
            await pair.Left.Endpoint.WriteAsync(source, remote.Slice(1001, written.Length), cancellationToken: Token);
            await pair.AssertWrittenAsync(source, file.Slice(1001, written.Length));
        }
        written.CopyTo(_content, 1001);
        Assert.Equal(_content, await File.ReadAllBytesAsync(_path, Token));
    }

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AViewStaysMappedUntilItsBufferIsBack(string fabric)
    {
        await using var pair = new ConformingPair<TTransport>(fabric);
        using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(_path);
        MemoryMappedViewAccessor view = file.CreateViewAccessor(0, Length);
        RmaBuffer buffer = pair.Right.Pool.Register(view);
        using (RmaExposure exposure = buffer.Expose(RmaAccess.RemoteRead))
        using (RemoteRegion remote = pair.Left.Endpoint.Import(pair.Left.Peer, exposure.Remote))
        using (RmaBuffer copy = pair.Left.Pool.Rent(Length))
        {
            view.Dispose();
            buffer.Dispose();
            await pair.Left.Endpoint.ReadAsync(copy, remote, cancellationToken: Token);
            Assert.True(copy.Span.SequenceEqual(_content));
            Assert.False(view.SafeMemoryMappedViewHandle.IsClosed);
        }
        Assert.True(view.SafeMemoryMappedViewHandle.IsClosed);
    }

    private static void AssertRefused(Action work) => Assert.Equal("EACCES", Assert.IsAssignableFrom<RmaException>(Record.Exception(work)).ErrorName);

    private static async Task AssertRefusedAsync(Func<Task> work) => Assert.Equal("EACCES", (await Assert.ThrowsAsync<RmaOperationException>(work)).ErrorName);
}
