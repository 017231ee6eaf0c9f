namespace AllocTools.Libfabric.Interop;

/// <summary>Domain attributes; later versions append to it. fi_domain(3).</summary>
internal unsafe struct fi_domain_attr
{
    public fid_domain* domain;
    public byte* name;
    public fi_threading threading;
    public fi_progress control_progress;
    public fi_progress data_progress;
    public fi_resource_mgmt resource_mgmt;
    public fi_av_type av_type;
    public int mr_mode;
    public nuint mr_key_size;
    public nuint cq_data_size;
    public nuint cq_cnt;
    public nuint ep_cnt;
    public nuint tx_ctx_cnt;
    public nuint rx_ctx_cnt;
    public nuint max_ep_tx_ctx;
    public nuint max_ep_rx_ctx;
    public nuint max_ep_stx_ctx;
    public nuint max_ep_srx_ctx;
    public nuint cntr_cnt;
    public nuint mr_iov_limit;
    public ulong caps;
    public ulong mode;
    public byte* auth_key;
    public nuint auth_key_size;
    public nuint max_err_data;
    public nuint mr_cnt;
    public uint tclass;
}
