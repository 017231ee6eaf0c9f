using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Owns one fi_info (fi_getinfo(3)): the chosen interface, or hints.</summary>
internal sealed unsafe class InfoHandle : SafeHandle
{
    private readonly LibfabricLibrary _library;

    /// <summary>Takes ownership of an info.</summary>
    public InfoHandle(LibfabricLibrary library, fi_info* info)
        : base(0, ownsHandle: true)
    {
        _library = library;
        SetHandle((nint)info);
    }

    public override bool IsInvalid => handle == 0;

    public fi_info* Info => (fi_info*)handle;

    public string ProviderName => Text(Info->fabric_attr->prov_name);

    public string DomainName => Text(Info->domain_attr->name);

    /// <summary>Allocates empty hints (fi_allocinfo).</summary>
    public static InfoHandle Allocate(LibfabricLibrary library)
    {
        fi_info* info = library.DupInfo(null);
        return info != null
            ? new InfoHandle(library, info)
            : throw new RmaProviderException("libfabric has no memory for fi_allocinfo.", FiErrno.FI_ENOMEM, nameof(FiErrno.FI_ENOMEM));
    }

    /// <summary>Copies one entry of a list.</summary>
    public static InfoHandle Copy(LibfabricLibrary library, fi_info* entry)
    {
        fi_info* copy = library.DupInfo(entry);
        return copy != null
            ? new InfoHandle(library, copy)
            : throw new RmaProviderException("libfabric has no memory for fi_dupinfo.", FiErrno.FI_ENOMEM, nameof(FiErrno.FI_ENOMEM));
    }

    /// <summary>Allocates a string by malloc, because fi_freeinfo frees it. Returns null for an empty string.</summary>
    public static byte* AllocateText(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        int length = System.Text.Encoding.UTF8.GetByteCount(text);
        byte* bytes = (byte*)NativeMemory.AllocZeroed((nuint)length + 1);
        System.Text.Encoding.UTF8.GetBytes(text, new Span<byte>(bytes, length));
        return bytes;
    }

    public static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    protected override bool ReleaseHandle()
    {
        _library.FreeInfo(Info);
        return true;
    }
}
