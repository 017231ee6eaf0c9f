using AllocTools.Libfabric.Interop;
using Xunit;

namespace AllocTools.Libfabric.Tests.Interop;

public sealed unsafe class FidHandleTests
{
    [Fact]
    public void Parents_are_closed_after_their_last_child()
    {
        FakeFid f = new(), d = new(), a = new(), b = new();
        FabricHandle fabric = new((fid_fabric*)f.Memory);
        DomainHandle domain = new((fid_domain*)d.Memory, fabric);
        MrHandle first = new((fid_mr*)a.Memory, domain);
        MrHandle second = new((fid_mr*)b.Memory, domain);

        fabric.Dispose();
        domain.Dispose();
        first.Dispose();
        Assert.Equal((1, 0, 0), (a.Closes, d.Closes, f.Closes));
        Assert.False(domain.IsReleased);
        Assert.Throws<ObjectDisposedException>(() => domain.UnmapKey(1));

        second.Dispose();
        Assert.Equal((1, 1, 1), (b.Closes, d.Closes, f.Closes));
        Assert.True(b.ClosedAt < d.ClosedAt && d.ClosedAt < f.ClosedAt);
        Assert.True(domain.IsReleased);
        Assert.Equal(0, domain.CloseStatus);
    }

    [Fact]
    public void A_child_that_does_not_close_keeps_its_parents_for_ever()
    {
        FakeFid f = new(), d = new(), m = new(closeStatus: -FiErrno.FI_EBUSY);
        FabricHandle fabric = new((fid_fabric*)f.Memory);
        DomainHandle domain = new((fid_domain*)d.Memory, fabric);
        MrHandle registration = new((fid_mr*)m.Memory, domain);

        registration.Dispose();
        registration.Dispose();
        domain.Dispose();
        fabric.Dispose();

        Assert.True(registration.IsReleased);
        Assert.Equal(-FiErrno.FI_EBUSY, registration.CloseStatus);
        Assert.Equal((1, 0, 0), (m.Closes, d.Closes, f.Closes));
    }

    [Fact]
    public void What_is_bound_stays_open()
    {
        FakeFid f = new(), d = new(), c = new(), e = new(), m = new();
        FabricHandle fabric = new((fid_fabric*)f.Memory);
        DomainHandle domain = new((fid_domain*)d.Memory, fabric);
        CqHandle queue = new((fid_cq*)c.Memory, domain);
        EndpointHandle endpoint = new((fid_ep*)e.Memory, domain);
        MrHandle registration = new((fid_mr*)m.Memory, domain);
        Assert.Equal(0, endpoint.Bind(queue, FiCaps.FI_SEND | FiCaps.FI_RECV));
        Assert.Equal(0, registration.Bind(endpoint));

        queue.Dispose();
        endpoint.Dispose();
        domain.Dispose();
        fabric.Dispose();
        Assert.Equal((0, 0, 0), (c.Closes, e.Closes, d.Closes));

        registration.Dispose();
        Assert.True(m.ClosedAt < e.ClosedAt && e.ClosedAt < c.ClosedAt && c.ClosedAt < d.ClosedAt && d.ClosedAt < f.ClosedAt);
    }

    [Fact]
    public void What_could_not_be_bound_is_let_go()
    {
        FakeFid f = new(), d = new(), c = new(), e = new(bindStatus: -FiErrno.FI_EINVAL);
        using FabricHandle fabric = new((fid_fabric*)f.Memory);
        using DomainHandle domain = new((fid_domain*)d.Memory, fabric);
        using EndpointHandle endpoint = new((fid_ep*)e.Memory, domain);
        CqHandle queue = new((fid_cq*)c.Memory, domain);
        Assert.Equal(-FiErrno.FI_EINVAL, endpoint.Bind(queue, 0));

        queue.Dispose();
        Assert.Equal(1, c.Closes);
    }

    [Fact]
    public void A_missing_table_a_short_table_and_a_missing_member_are_ENOSYS()
    {
        FakeFid f = new();
        FabricHandle fabric = new((fid_fabric*)f.Memory);
        Assert.Equal(-FiErrno.FI_ENOSYS, fabric.OpenDomain(null, out DomainHandle? domain));
        Assert.Null(domain);

        fi_ops_fabric ops = new() { size = (nuint)sizeof(nuint), domain = (delegate* unmanaged[Cdecl]<fid_fabric*, fi_info*, fid_domain**, void*, int>)1 };
        fabric.Pointer->ops = &ops;
        Assert.Equal(-FiErrno.FI_ENOSYS, fabric.OpenDomain(null, out _));
        ops = new() { size = (nuint)sizeof(fi_ops_fabric) };
        Assert.Equal(-FiErrno.FI_ENOSYS, fabric.OpenDomain(null, out _));

        f.Ops->close = null;
        fabric.Dispose();
        Assert.Equal(-FiErrno.FI_ENOSYS, fabric.CloseStatus);
    }

    [Fact]
    public void The_installed_library_never_sees_a_domain_close_before_its_registration()
    {
        fi_info* info = Installed.TcpInfo();
        Assert.Equal(0, Installed.Library.OpenFabric(info->fabric_attr, out FabricHandle? fabric));
        Assert.Equal(0, fabric!.OpenDomain(info, out DomainHandle? domain));
        Installed.Library.FreeInfo(info);
        byte* memory = stackalloc byte[4096];
        iovec range = new() { iov_base = memory, iov_len = 4096 };
        fi_mr_attr attr = new() { mr_iov = &range, iov_count = 1, access = FiCaps.FI_REMOTE_READ, requested_key = 4711 };
        Assert.Equal(0, domain!.RegisterMemory(&attr, 0, out MrHandle? first));
        attr.requested_key = 4712;
        Assert.Equal(0, domain.RegisterMemory(&attr, 0, out MrHandle? second));
        Assert.Equal(4711UL, first!.Key);
        Assert.Equal(4712UL, second!.Key);

        fabric.Dispose();
        domain.Dispose();
        first.Dispose();
        Assert.True(first.IsReleased);
        Assert.False(domain.IsReleased);
        second.Dispose();
        Assert.True(domain.IsReleased);
        Assert.True(fabric.IsReleased);
        Assert.All(new FidHandle[] { first, second, domain, fabric }, handle => Assert.Equal(0, handle.CloseStatus));
    }
}
