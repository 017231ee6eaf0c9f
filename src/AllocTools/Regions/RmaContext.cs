namespace AllocTools.Regions;

/// <summary>A base for contexts that counts references and closes once, with the last.</summary>
public abstract class RmaContext : IRmaContext
{
    private int _references = 1;
    private int _openerReleased;

    /// <inheritdoc/>
    public abstract RmaProviderTraits Traits { get; }

    /// <inheritdoc/>
    public virtual RmaException? Failure => null;

    /// <inheritdoc/>
    public virtual IReadOnlyCollection<string> Hindrances => [];

    /// <inheritdoc/>
    public abstract IRmaRegistration Register(nint address, long length, RmaAccess access);

    /// <inheritdoc/>
    public virtual IRmaRegistration RegisterReadOnly(nint address, long length, RmaAccess access) => Register(address, length, access);

    /// <inheritdoc/>
    public abstract void Deregister(IRmaRegistration registration);

    /// <inheritdoc/>
    public abstract IRmaEndpoint OpenEndpoint();

    /// <inheritdoc/>
    public IDisposable Retain()
    {
        int seen = Volatile.Read(ref _references);
        while (seen > 0)
        {
            int before = Interlocked.CompareExchange(ref _references, seen + 1, seen);
            if (before == seen)
                return new RmaContextLease(Release);
            seen = before;
        }
        throw new ObjectDisposedException(GetType().FullName, $"The context of provider '{Traits.ProviderName}' is closed.");
    }

    /// <summary>Releases the opener's reference, once. The last reference closes.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _openerReleased, 1) == 0)
            Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>True once the last reference was released.</summary>
    protected bool IsClosed => Volatile.Read(ref _references) <= 0;

    /// <summary>Closes what was opened. Called once; must not throw.</summary>
    protected abstract void Close();

    private void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0)
            Close();
    }
}
