//! The catalogue: products, and the calls about their stock.

mod edit;
mod show;

use std::sync::Arc;

use domain::ids::{CategoryId, ProductId, SellerId};
use projections::{reader::Query, views::catalog as view};
use proto::v1::{self, catalog_service_server::CatalogService};
use tonic::{Request, Response, Status};

pub(super) use edit::own;

use super::{
    Context, convert, envelope, stock,
    views::{Listing, unread},
    watch::Answers,
};

pub(super) struct Catalog(pub(super) Arc<Context>);

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        request: Request<v1::CreateProductRequest>,
    ) -> Result<Response<v1::CreateProductResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        edit::create(&self.0, asked).await.map(Response::new)
    }

    async fn update_product(
        &self,
        request: Request<v1::UpdateProductRequest>,
    ) -> Result<Response<v1::UpdateProductResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        edit::update(&self.0, asked).await.map(Response::new)
    }

    async fn get_product(&self, request: Request<v1::GetProductRequest>) -> Result<Response<v1::Product>, Status> {
        let deadline = envelope::deadline(&self.0, &request);
        let asked = request.into_inner();
        let id: ProductId = convert::id("product_id", &asked.product_id)?;
        self.0.views.reached::<view::Catalog>(asked.min_position, deadline).await?;
        let row = self.0.views.catalog.get(&id).await.map_err(|error| unread(&error))?;
        let row = row.ok_or_else(|| edit::not_found(&id))?;
        Ok(Response::new(show::row(&row)))
    }

    async fn delete_product(
        &self,
        request: Request<v1::DeleteProductRequest>,
    ) -> Result<Response<v1::DeleteProductResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        edit::delist(&self.0, asked).await.map(Response::new)
    }

    async fn list_products(
        &self,
        request: Request<v1::ListProductsRequest>,
    ) -> Result<Response<v1::ListProductsResponse>, Status> {
        let deadline = envelope::deadline(&self.0, &request);
        let asked = request.into_inner();
        let category: Option<CategoryId> = convert::optional_id("category_id", &asked.category_id)?;
        let seller: Option<SellerId> = convert::optional_id("seller_id", &asked.seller_id)?;
        self.0.views.reached::<view::Catalog>(asked.min_position, deadline).await?;
        let query = seller.as_ref().map_or_else(Query::rows, view::of_seller);
        let delisted = if asked.include_delisted { "delisted" } else { "" };
        let listing = Listing {
            query: &["ListProducts", &asked.category_id, &asked.seller_id, delisted],
            page_size: asked.page_size,
            page_token: &asked.page_token,
        };
        let wanted = |row: &view::Product| {
            (row.listed || asked.include_delisted)
                && category.as_ref().is_none_or(|step| row.description.categories.contains(step))
        };
        let (rows, next_page_token) = self.0.page(&self.0.views.catalog, &query, listing, wanted).await?;
        let products = rows.iter().map(show::row).collect();
        Ok(Response::new(v1::ListProductsResponse { products, next_page_token }))
    }

    async fn change_inventory_count(
        &self,
        request: Request<v1::ChangeInventoryCountRequest>,
    ) -> Result<Response<v1::ChangeInventoryCountResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        stock::change(&self.0, asked).await.map(Response::new)
    }

    async fn get_stock(&self, request: Request<v1::GetStockRequest>) -> Result<Response<v1::Stock>, Status> {
        stock::get(&self.0, request).await.map(Response::new)
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<v1::ListStockResponse>, Status> {
        stock::list(&self.0, request).await.map(Response::new)
    }

    type WatchStockStream = Answers<v1::WatchStockResponse>;

    async fn watch_stock(
        &self,
        request: Request<v1::WatchStockRequest>,
    ) -> Result<Response<Self::WatchStockStream>, Status> {
        stock::watch(&self.0, request).await.map(Response::new)
    }
}
