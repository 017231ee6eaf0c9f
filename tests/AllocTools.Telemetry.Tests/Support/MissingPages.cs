using System.IO.MemoryMappedFiles;

namespace AllocTools.Telemetry.Tests.Support;

/// <summary>
/// Memory that is mapped, but has no pages, because the file behind it was truncated. Locking it fails with ENOMEM,
/// like locking too much.
/// </summary>
internal sealed class MissingPages : IDisposable
{
    /// <summary>The length in bytes.</summary>
    public const int Length = 4096;

    private readonly FileStream _file = new(
        Path.Combine(Path.GetTempPath(), Path.GetRandomFileName()), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose);
    private readonly MemoryMappedFile _mapping;
    private readonly MemoryMappedViewAccessor _view;

    public MissingPages()
    {
        _file.SetLength(Length);
        _mapping = MemoryMappedFile.CreateFromFile(_file, null, Length, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        _view = _mapping.CreateViewAccessor(0, Length);
        _file.SetLength(0);
    }

    /// <summary>Gets the address of the first byte.</summary>
    public nint Address => _view.SafeMemoryMappedViewHandle.DangerousGetHandle();

    public void Dispose()
    {
        _view.Dispose();
        _mapping.Dispose();
        _file.Dispose();
    }
}
