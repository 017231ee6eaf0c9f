using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Libfabric.Interop;

/// <summary>Owns a libfabric object. fi_close(3).</summary>
/// <remarks>
/// A handle holds a reference to the object that it was opened from and to each object that it was bound to, and
/// releases them when fi_close has succeeded. However handles are disposed or finalized, a parent is therefore closed
/// after its last child. If fi_close fails, the references are kept forever, because the object still exists: closing
/// its domain would fail too, and libfabric 1.17 aborts the process at the second fi_close of a domain that was busy.
/// <para>
/// Methods take a reference for their call and throw <see cref="ObjectDisposedException"/> on a disposed handle,
/// except those that post or read completions, which say so. All return libfabric's own status (0 or a negative errno,
/// -FI_ENOSYS if the provider has no such call) and don't throw for native failures.
/// </para>
/// </remarks>
internal abstract unsafe class FidHandle : SafeHandle
{
    private readonly FidHandle? _parent;
    private List<FidHandle>? _dependencies;
    private int _closeStatus;
    private bool _isReleased;
    private bool _isDisposed;

    protected FidHandle(void* fid, FidHandle? parent)
        : base(0, ownsHandle: true)
    {
        // Acquire is not used here: the code that opens a child holds a lease on the parent, and the child already exists.
        bool held = false;
        parent?.DangerousAddRef(ref held);
        _parent = parent;
        SetHandle((nint)fid);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>
    /// Whether fi_close has been called. Disposing a handle that is still in use or has open children only defers the
    /// call.
    /// </summary>
    public bool IsReleased => Volatile.Read(ref _isReleased);

    /// <summary>The status that fi_close returned: 0 or a negative errno. It is valid once <see cref="IsReleased"/> is true.</summary>
    public int CloseStatus => Volatile.Read(ref _closeStatus);

    /// <summary>The object's head, which every libfabric object starts with.</summary>
    protected fid* Fid => (fid*)handle;

    /// <summary>
    /// Keeps another object open until this one is closed. Like fi_bind, it must not be called from several threads at
    /// once.
    /// </summary>
    public void AddDependency(FidHandle dependency)
    {
        using FidLease self = new(this);
        List<FidHandle> dependencies = _dependencies ??= [];
        dependencies.EnsureCapacity(dependencies.Count + 1);
        dependency.Acquire();
        dependencies.Add(dependency);
    }

    /// <summary>
    /// Like DangerousAddRef, but also refuses a disposed handle: SafeHandle itself refuses only once the last
    /// reference is released.
    /// </summary>
    public void Acquire()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed), this);
        bool held = false;
        DangerousAddRef(ref held);
    }

    /// <summary>Returns an error for an open that succeeded without an object.</summary>
    public static int CheckOpened(int status, void* opened)
        => status == 0 && opened == null ? -FiErrno.FI_EOTHER : status;

    /// <summary>Calls fi_bind and keeps the bound object open. fi_endpoint(3), fi_mr(3).</summary>
    protected int BindCore(FidHandle other, ulong flags)
    {
        using FidLease self = new(this);
        AddDependency(other);
        fi_ops* ops = Fid->ops;
        int status = ops != null && FiOps.Has(ops, &ops->bind) ? ops->bind(Fid, other.Fid, flags) : -FiErrno.FI_ENOSYS;
        if (status != 0)
            DropLastDependency();
        return status;
    }

    /// <summary>fi_control(3).</summary>
    protected int ControlCore(int command, void* argument)
    {
        using FidLease self = new(this);
        fi_ops* ops = Fid->ops;
        return ops != null && FiOps.Has(ops, &ops->control) ? ops->control(Fid, command, argument) : -FiErrno.FI_ENOSYS;
    }

    protected override void Dispose(bool disposing)
    {
        Volatile.Write(ref _isDisposed, true);
        base.Dispose(disposing);
    }

    protected override bool ReleaseHandle()
    {
        fi_ops* ops = Fid->ops;
        int status = ops != null && FiOps.Has(ops, &ops->close) ? ops->close(Fid) : -FiErrno.FI_ENOSYS;
        Volatile.Write(ref _closeStatus, status);
        Volatile.Write(ref _isReleased, true);
        if (status != 0)
            return false;

        while (_dependencies is { Count: > 0 })
            DropLastDependency();
        _parent?.DangerousRelease();
        return true;
    }

    private void DropLastDependency()
    {
        FidHandle dependency = _dependencies![^1];
        _dependencies.RemoveAt(_dependencies.Count - 1);
        dependency.DangerousRelease();
    }
}

/// <summary>
/// Keeps a handle open for a scope. Throws <see cref="ObjectDisposedException"/> if it has already been disposed.
/// </summary>
internal readonly ref struct FidLease
{
    private readonly FidHandle _handle;

    public FidLease(FidHandle handle)
    {
        handle.Acquire();
        _handle = handle;
    }

    public void Dispose() => _handle.DangerousRelease();
}

/// <summary>The check that libfabric's headers call FI_CHECK_OP. fabric(7).</summary>
internal static unsafe class FiOps
{
    /// <summary>Whether a table that is not null is long enough to hold the member, and the member is set.</summary>
    /// <param name="ops">The table; its first member is its size in bytes.</param>
    /// <param name="member">The address of the member in the table.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Has(void* ops, void* member)
        => *(nuint*)ops > (nuint)((byte*)member - (byte*)ops) && *(void**)member != null;
}
