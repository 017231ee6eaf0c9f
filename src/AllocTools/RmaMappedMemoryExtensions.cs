using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using AllocTools.Pooling;
using AllocTools.Validation;

namespace AllocTools;

/// <summary>Registers files and read-only memory with an <see cref="RmaMemoryPool{TProvider}"/>.</summary>
/// <remarks>
/// <para>
/// A mapped file is registered in the page cache, so a peer that reads it by RMA reads those pages, and nothing is
/// copied. It counts against the pool's cap like other memory of the caller, and stays mapped while the buffer is
/// rented or held.
/// </para>
/// <para>
/// A file must not become shorter while it is registered. Pages beyond its new end are gone: if this process accesses
/// one, as a transport does for a peer, SIGBUS ends the process. A file that is shorter than its view is refused when
/// it is registered (on Linux 5.14 or later).
/// <see cref="RegisterFile"/> opens it with <see cref="FileShare.Read"/>, which keeps other .NET programs from opening
/// it for writing; the kernel does not enforce that for other programs.
/// </para>
/// </remarks>
public static class RmaMappedMemoryExtensions
{
    /// <summary>Maps a file and registers it. Disposing the buffer deregisters and unmaps it.</summary>
    /// <param name="pool">The pool.</param>
    /// <param name="path">The file.</param>
    /// <param name="access">
    /// <see cref="FileAccess.Read"/>: the file is mapped for reading, and nothing can write to it
    /// (<see cref="RmaBuffer.IsReadOnly"/>). <see cref="FileAccess.ReadWrite"/>: bytes that are written to the buffer,
    /// by this process or by peers, are in the file for all its readers. Nothing waits for the disk, not even the
    /// return of the buffer: the system writes the bytes to the disk later. Flush a <see cref="FileStream"/> of the
    /// file to the disk to be certain.
    /// </param>
    /// <param name="offset">Where the part begins, in bytes from the start of the file. Some providers accept only
    /// addresses that are multiples of a page.</param>
    /// <param name="length">Bytes, 1 or more; null: to the end of the file.</param>
    /// <exception cref="ArgumentNullException">The pool is null.</exception>
    /// <exception cref="ArgumentException">The pool is not an <see cref="RmaMemoryPool{TProvider}"/>, or the access is
    /// <see cref="FileAccess.Write"/> alone.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The part is empty, or exceeds the file or the pool's cap.</exception>
    /// <exception cref="IOException">The file is empty, or can't be opened or mapped.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be opened with this access.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    /// <example>
    /// <code>
    /// await File.WriteAllBytesAsync("weights.bin", new byte[100_000], cancellationToken);
    /// // The pool's option Access must include RemoteRead.
    /// using RmaBuffer weights = pool.RegisterFile("weights.bin");
    /// using RmaExposure exposure = weights.Expose(RmaAccess.RemoteRead);
    /// byte[] forThePeer = exposure.Remote.ToArray();
    /// </code>
    /// </example>
    public static RmaBuffer RegisterFile(this IRmaMemoryPool pool, string path, FileAccess access = FileAccess.Read, long offset = 0, long? length = null)
    {
        PoolEngine engine = PoolEngine.Of(pool);
        if (access is not (FileAccess.Read or FileAccess.ReadWrite))
            throw new ArgumentException($"The access is {access}; it must be Read or ReadWrite, because registered memory is always read.", nameof(access));
        MappedFile file = MappedFile.Open(path, access, offset, length);
        return RegisterView(engine, file.View, file, length is null ? nameof(path) : nameof(length), isReadOnly: access == FileAccess.Read);
    }

    /// <summary>Registers a whole view of a mapped file. Disposing the buffer deregisters it; until then the memory stays mapped, even if the view is disposed.</summary>
    /// <param name="pool">The pool.</param>
    /// <param name="view">The view. If it is read-only, so is the buffer.</param>
    /// <exception cref="ArgumentException">The pool is not an <see cref="RmaMemoryPool{TProvider}"/>.</exception>
    /// <exception cref="ArgumentNullException">The pool or the view is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The view is empty, or exceeds the pool's cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The file has become shorter than the view, or the provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The view or the pool is disposed, or the pool is draining.</exception>
    public static RmaBuffer Register(this IRmaMemoryPool pool, MemoryMappedViewAccessor view)
    {
        PoolEngine engine = PoolEngine.Of(pool);
        ArgumentNullException.ThrowIfNull(view);
        ObjectDisposedException.ThrowIf(!view.CanRead && !view.CanWrite, view);
        return RegisterView(engine, view, new MappedView(view.SafeMemoryMappedViewHandle), nameof(view), isReadOnly: !view.CanWrite);
    }

    /// <summary>
    /// Pins and registers memory as read-only: it can be the source of sends and writes, and can be exposed for
    /// reading; operations that would write to it are refused.
    /// </summary>
    /// <param name="pool">The pool.</param>
    /// <param name="memory">One byte or more.</param>
    /// <exception cref="ArgumentNullException">The pool is null.</exception>
    /// <exception cref="ArgumentException">The pool is not an <see cref="RmaMemoryPool{TProvider}"/>.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The memory is empty or exceeds the cap.</exception>
    /// <exception cref="RmaPoolExhaustedException">The cap leaves no room.</exception>
    /// <exception cref="RmaRegistrationException">The provider refused.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed or draining.</exception>
    public static unsafe RmaBuffer RegisterReadOnly(this IRmaMemoryPool pool, ReadOnlyMemory<byte> memory)
    {
        PoolEngine engine = PoolEngine.Of(pool);
        if (memory.IsEmpty)
            throw new ArgumentOutOfRangeException(nameof(memory), "The memory is empty; it must have at least one byte.");
        engine.Callers.CheckLength(memory.Length, nameof(memory));
        MemoryHandle pin = memory.Pin();
        return engine.Register((nint)pin.Pointer, memory.Length, pin, isManaged: MemoryMarshal.TryGetArray(memory, out _), isReadOnly: true);
    }

    /// <summary>Registers the view. It takes over the pin, even if it fails.</summary>
    private static unsafe RmaBuffer RegisterView(PoolEngine engine, MemoryMappedViewAccessor view, IPinnable pin, string lengthName, bool isReadOnly)
    {
        nint address = view.SafeMemoryMappedViewHandle.DangerousGetHandle() + (nint)view.PointerOffset;
        MemoryHandle handle = new((void*)address, pinnable: pin);
        try
        {
            engine.Callers.CheckLength(view.Capacity, lengthName);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
        return engine.Register(address, view.Capacity, handle, isManaged: false, isReadOnly);
    }

    /// <summary>Keeps a view mapped.</summary>
    private sealed class MappedView : IPinnable
    {
        private readonly SafeBuffer _mapping;

        public MappedView(SafeBuffer mapping)
        {
            bool isAdded = false;
            mapping.DangerousAddRef(ref isAdded);
            _mapping = mapping;
        }

        public MemoryHandle Pin(int elementIndex) => throw new NotSupportedException("A view is pinned only once, when it is registered.");

        public void Unpin() => _mapping.DangerousRelease();
    }

    /// <summary>A file that is mapped for a buffer.</summary>
    private sealed class MappedFile(MemoryMappedFile file, MemoryMappedViewAccessor view) : IPinnable
    {
        public MemoryMappedViewAccessor View => view;

        public static MappedFile Open(string path, FileAccess access, long offset, long? length)
        {
            FileStream stream = new(path, FileMode.Open, access, FileShare.Read, bufferSize: 0);
            MemoryMappedFile? file = null;
            try
            {
                long whole = stream.Length;
                if (whole == 0)
                    throw new IOException($"The file '{path}' is empty; it must have at least one byte to be registered.");
                RangeCheck.ThrowIfOutside(offset, length ?? 0, whole);
                ArgumentOutOfRangeException.ThrowIfEqual(offset, whole);
                if (length is { } asked)
                    ArgumentOutOfRangeException.ThrowIfNegativeOrZero(asked, nameof(length));
                MemoryMappedFileAccess how = access == FileAccess.Read ? MemoryMappedFileAccess.Read : MemoryMappedFileAccess.ReadWrite;
                // The file takes over the stream.
                file = MemoryMappedFile.CreateFromFile(stream, null, 0, how, HandleInheritability.None, leaveOpen: false);
                return new MappedFile(file, file.CreateViewAccessor(offset, length ?? (whole - offset), how));
            }
            catch
            {
                file?.Dispose();
                stream.Dispose();
                throw;
            }
        }

        public MemoryHandle Pin(int elementIndex) => throw new NotSupportedException("A file is mapped only once, when it is registered.");

        public void Unpin()
        {
            // Disposing a view would flush it, on the thread that ends the last hold; that takes as long as the disk
            // needs, and may fail. The pages belong to the file without a flush; the system writes them to the disk.
            try
            {
                view.SafeMemoryMappedViewHandle.Dispose();
                view.Dispose();
            }
            finally
            {
                file.Dispose();
            }
        }
    }
}
