using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>The installed library, as the tests use it. If it is missing, they fail.</summary>
internal static unsafe class Installed
{
    public static LibfabricLibrary Library => LibfabricLibrary.Default
        ?? throw new InvalidOperationException(LibfabricLibrary.NotSupportedReason);

    public static string? Text(byte* text) => Marshal.PtrToStringUTF8((nint)text);

    /// <summary>Returns what loopback TCP offers; the caller frees it.</summary>
    public static fi_info* TcpInfo()
    {
        fi_info* hints = Library.DupInfo(null);
        Assert.True(hints != null);
        hints->caps = FiCaps.FI_MSG | FiCaps.FI_RMA | FiCaps.FI_SOURCE;
        hints->mode = FiMode.FI_CONTEXT | FiMode.FI_CONTEXT2;
        hints->ep_attr->type = fi_ep_type.FI_EP_RDM;
        hints->domain_attr->mr_mode = FiMrMode.FI_MR_LOCAL | FiMrMode.FI_MR_VIRT_ADDR | FiMrMode.FI_MR_ALLOCATED
            | FiMrMode.FI_MR_PROV_KEY;
        fi_info* list;
        fixed (byte* name = "tcp;ofi_rxm\0"u8)
        {
            // The name is ours, so it is removed before fi_freeinfo.
            hints->fabric_attr->prov_name = name;
            int status = Library.GetInfo(FiVersion.Api, "127.0.0.1", null, FiCaps.FI_SOURCE, hints, out list);
            hints->fabric_attr->prov_name = null;
            Assert.Equal("FI_SUCCESS", FiErrno.NameOf(status));
        }

        Library.FreeInfo(hints);
        return list;
    }
}
